"""Where each sequence of a packed row begins, and which rows it sees: what a kernel of all sequences reads.

Pure numpy. A plan can be laid out in a `Shape`, sizes that are the same for many batches: sequences that are
missing have no rows, and keys that are missing are rows that nobody sees.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from guerdon_service.backends.layout import Segment

LEAST_LONGEST = 128
"""Bounds of lengths are powers of two from here: at one query flash attention would take another kernel."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a forward.

    rows: T, of the packed row.
    sequences: N, in which padding's are counted.
    seen: K, rows of keys; None where each sequence sees its own, and they are T.
    longest: no sequence has more queries or keys.
    """

    rows: int
    sequences: int
    seen: int | None
    longest: int


@dataclass(frozen=True, slots=True)
class VarlenPlan:
    """N sequences in a packed row of T rows. Padding is in the last ones: it sees nothing, and costs nothing.

    queries: int32 [N + 1], where each sequence's queries begin, and T.
    keys: int32 [N + 1], the same of what they see, the rows in `source`.
    source: int64 [K], the rows of the packed row that they see; None where each sees its own.
    longest: no sequence has more queries or keys.
    """

    queries: NDArray[np.int32]
    keys: NDArray[np.int32]
    source: NDArray[np.int64] | None
    longest: int


def plan_varlen(segments: Sequence[Segment], size: int, longest: int | None = None) -> VarlenPlan:
    """The segments of a packed row of `size` rows.

    Args:
        longest: at least `longest_of(segments)`; None: the least power of two that is.
    """
    bound = longest or _longest_bound(segments)
    shares = any(segment.prompt for segment in segments)
    seen = [_rows_seen(segment) for segment in segments]
    padding = _padding(segments[-1].end, size, bound)
    keys = np.cumsum([0, *map(len, seen), *(0 for _ in padding)], dtype=np.int32)
    queries = np.array([0, *(segment.end for segment in segments), *padding], dtype=np.int32)
    return VarlenPlan(queries, keys, np.concatenate(seen) if shares else None, bound)


def fits(segments: Sequence[Segment], shape: Shape) -> bool:
    """Whether a plan of these segments can be laid out in the shape."""
    end = segments[-1].end
    if end > shape.rows or longest_of(segments) > shape.longest:
        return False
    padding = _padding(end, shape.rows, shape.longest)
    return len(segments) + len(padding) <= shape.sequences and (
        shape.seen is None or sum(map(_num_seen, segments)) <= shape.seen
    )


def laid_out(segments: Sequence[Segment], shape: Shape) -> VarlenPlan:
    """The plan of segments that fit, with arrays of the shape's sizes."""
    plan = plan_varlen(segments, shape.rows, shape.longest)
    missing = shape.sequences + 1 - len(plan.queries)
    queries, keys = (np.pad(ends, (0, missing), mode="edge") for ends in (plan.queries, plan.keys))
    source = plan.source
    if shape.seen is not None:
        assert source is not None, "a shape with rows of keys is for decoders, which share prompts"
        source = np.pad(source, (0, shape.seen - len(source)))
    return replace(plan, queries=queries, keys=keys, source=source)


def longest_of(segments: Iterable[Segment]) -> int:
    """The most rows that a segment sees, its own among them."""
    return max(map(_num_seen, segments))


def _longest_bound(segments: Sequence[Segment]) -> int:
    return max(LEAST_LONGEST, 1 << (longest_of(segments) - 1).bit_length())


def _padding(end: int, size: int, longest: int) -> list[int]:
    """Ends of sequences that hold the rows from `end` to `size`."""
    starts = range(end, size, longest)
    return [min(start + longest, size) for start in starts]


def _num_seen(segment: Segment) -> int:
    own = segment.end - segment.start
    return own if segment.prompt is None else own + segment.prompt[1] - segment.prompt[0]


def _rows_seen(segment: Segment) -> NDArray[np.int64]:
    own = np.arange(segment.start, segment.end)
    return own if segment.prompt is None else np.concatenate([np.arange(*segment.prompt), own])
