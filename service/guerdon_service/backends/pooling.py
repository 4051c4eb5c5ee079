"""Which hidden states a score is read from."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from guerdon_service.backends.families import Pool
from guerdon_service.core.manifest import RESPONSE_MAX_WEIGHT, Pooling


def pooled_response(hidden: Tensor) -> Tensor:
    """Row fp32 [hidden] of the states [N, hidden] of one response's tokens, N >= 1.

    The mean says what most of the response is like, the maximum whether any part of it is like something
    (Shen et al. 2018, arXiv:1805.09843, section 3.3). Both stay inside one response, so its bits do.
    """
    states = hidden.float()
    return states.mean(0) + RESPONSE_MAX_WEIGHT * states.amax(0)


def pooled_index(ids: NDArray[np.int32], pad_token_id: int | None, pool: Pool, pooling: Pooling) -> int:
    """Index into `ids` of the pooled token; 0 for ``mean``, which reads all of them.

    ``model`` is what `transformers` does for one unpadded row: decoders take the rightmost token that is
    not `pad_token_id` (with pad == eos the one before the trailing EOS; all pads: 0), or the last one
    when there is no pad token; encoders take the first.
    """
    if pooling == "last":
        return len(ids) - 1
    if pool != "rightmost":
        return 0
    if pad_token_id is None:
        return len(ids) - 1
    kept = np.flatnonzero(ids != pad_token_id)
    return int(kept[-1]) if kept.size else 0
