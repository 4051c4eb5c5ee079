"""The tiles of a packed row: queries that a kernel computes together, and the two runs of keys that they see.

Pure numpy. A plan can be laid out in a `Shape`, sizes that are the same for many batches: tiles that are
missing have no rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from guerdon_service.backends.layout import Segment

TILE_QUERIES = 128
"""Of all heads of a tile, those of one row counted apart."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a forward: T rows of the packed row, and tiles, in which padding's are counted."""

    rows: int
    tiles: int


def heads_of_tile(groups: int) -> int:
    """Query heads that share a key's head and a tile; `groups` is how many share the key's."""
    return gcd(groups, 8)


def rows_of_tile(groups: int) -> int:
    """Rows of a tile, at most."""
    return TILE_QUERIES // heads_of_tile(groups)


def plan_tiles(
    segments: Sequence[Segment], size: int, *, rows: int, causal: bool, num_tiles: int | None = None
) -> NDArray[np.int32]:
    """Tiles int32 [N, 6] of a packed row of `size` rows.

    Each has its first row and the row after its last, the same of the prompt's keys, the same of its own.
    Causal queries see of the latter what is at or before their own place. The heaviest come first, so that
    devices end together; padding, last, sees nothing and costs nothing.

    Args:
        rows: of a tile, at most.
        num_tiles: N; None: as many as these need.
    """
    tiles = [
        (first, end, *(segment.prompt or (0, 0)), segment.start, end if causal else segment.end)
        for segment in segments
        for first, end in _cut(segment.start, segment.end, rows)
    ]
    tiles.sort(key=lambda tile: tile[2] - tile[3] + tile[4] - tile[5])
    tiles += [(first, end, 0, 0, 0, 0) for first, end in _cut(segments[-1].end, size, rows)]
    plan = np.zeros((num_tiles or len(tiles), 6), dtype=np.int32)
    plan[: len(tiles)] = tiles
    return plan


def fits(segments: Sequence[Segment], shape: Shape, *, rows: int) -> bool:
    """Whether these segments can be laid out in the shape, in tiles of at most `rows`."""
    end = segments[-1].end
    if end > shape.rows:
        return False
    sizes = [segment.end - segment.start for segment in segments]
    return sum(-(-size // rows) for size in (*sizes, shape.rows - end)) <= shape.tiles


def _cut(start: int, end: int, rows: int) -> list[tuple[int, int]]:
    return [(first, min(first + rows, end)) for first in range(start, end, rows)]
