"""Where tests of tiles run, and the sizes of their models."""

from typing import Any

import pytest

from guerdon_service.backends.native.library import tiles

SIZES: dict[str, Any] = {
    "hidden_size": 96,
    "num_attention_heads": 3,
    "intermediate_size": 160,
    "vocab_size": 50,
}
"""Of a small transformer with heads of 32 columns; all but the last are multiples of 32."""

needs_tiles = pytest.mark.skipif(tiles() is None, reason="this CPU multiplies no tiles (AMX)")
