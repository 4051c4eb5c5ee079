"""Where tests of tiles run."""

import pytest

from guerdon_service.backends.native.library import tiles

needs_tiles = pytest.mark.skipif(tiles() is None, reason="this CPU multiplies no tiles (AMX)")
