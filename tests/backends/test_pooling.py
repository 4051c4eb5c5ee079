"""The pooled token against `transformers`' own rule."""

import numpy as np
import pytest

from guerdon_service.backends.pooling import pooled_index


@pytest.mark.parametrize(
    ("ids", "pad", "expected"),
    [([5, 6, 7], 0, 2), ([5, 6, 0], 0, 1), ([5, 0, 6, 0, 0], 0, 2), ([0, 0], 0, 0), ([5, 6, 0], None, 2)],
)
def test_rightmost(ids: list[int], pad: int | None, expected: int) -> None:
    tokens = np.array(ids, dtype=np.int32)
    assert pooled_index(tokens, pad, "rightmost", "model") == expected
    assert pooled_index(tokens, pad, "rightmost", "last") == len(ids) - 1
    assert pooled_index(tokens, pad, "first", "model") == 0
