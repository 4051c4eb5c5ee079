"""What fake back ends answer: simple enough to work out by hand, quick to import."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.ports import ForwardStats


def weighted_sums(batch: Sequence[Encoded], scale: float) -> tuple[NDArray[np.float32], ForwardStats]:
    """float32 [B, 2]: tokens weighted by their positions from 1, times `scale`; tokens of the response."""
    rows = [
        [float(e.input_ids @ np.arange(1, e.num_tokens + 1)) * scale, e.num_tokens - e.prefix_len]
        for e in batch
    ]
    num_tokens = sum(e.num_tokens for e in batch)
    return np.asarray(rows, dtype=np.float32), ForwardStats(num_tokens, num_tokens)
