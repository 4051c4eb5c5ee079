"""A conversation as the model sees it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """Final token ids of one conversation.

    input_ids: int32 [num_tokens], template, special tokens and truncation already applied.
    prefix_len: tokens of the prompt segment; the response segment is ``input_ids[prefix_len:]``.
        With the `pair` encoding it is where token type 1 begins. Never 0 and never all tokens.
    truncated: True when prompt tokens were cut on the left; the response never is.
    """

    input_ids: NDArray[np.int32]
    prefix_len: int
    truncated: bool

    @property
    def num_tokens(self) -> int:
        """Length of `input_ids`."""
        return int(self.input_ids.shape[0])
