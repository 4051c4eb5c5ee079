"""A back end without a model, for tests of what stands above it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.ports import ForwardStats


class FakeBackend:
    """Scores are a simple function of the token ids: deterministic, and different for each head."""

    name = "fake"
    dtype = "float32"
    shares_prefix = False

    def __init__(self, num_heads: int = 1) -> None:
        self.num_heads = num_heads

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        """Head h of a conversation: the mean of ``sin(token id + h)`` over its response, plus its length."""
        tokens = sum(e.num_tokens for e in batch)
        rows = [[self._score(e, h) for h in range(self.num_heads)] for e in batch]
        return np.asarray(rows, dtype=np.float32).reshape(-1, self.num_heads), ForwardStats(tokens, tokens)

    def close(self) -> None:
        """Nothing to free."""

    @staticmethod
    def _score(encoded: Encoded, head: int) -> float:
        return (
            float(np.sin(encoded.input_ids[encoded.prefix_len :] + head).mean()) + encoded.num_tokens / 1000
        )
