"""Which rows each sequence of a packed row has, and which it sees: what a kernel of all sequences reads.

Pure numpy. A decoder's segments are cut into sequences of `BLOCK` queries: each sees the keys up to its own
end, so a kernel that takes queries by blocks does the same work, but its size no longer depends on the
longest segment. A plan can be laid out in a `Shape`, sizes that are the same for many batches: sequences that
are missing have no rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from guerdon_service.backends.layout import Segment

BLOCK = 128
"""Queries that flash attention computes together; at one query it would take another kernel."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of a forward.

    rows: T, of the packed row.
    sequences: N, in which padding's are counted.
    seen: K, rows of keys that are copied; None where each sequence sees rows in their place.
    longest: no sequence has more queries.
    """

    rows: int
    sequences: int
    seen: int | None
    longest: int


@dataclass(frozen=True, slots=True)
class VarlenPlan:
    """N sequences in a packed row of T rows. Padding is in the last ones: it sees nothing, and costs nothing.

    queries: int32 [N + 1], where each sequence's queries begin, and T.
    keys: int32 [N + 1], the first row that each sees, and one that nobody reads.
    num_keys: int32 [N], rows that each sees from there.
    source: int64 [K], the rows of the packed row that are seen, in which `keys` count; None: all, in place.
    longest: no sequence has more queries.
    """

    queries: NDArray[np.int32]
    keys: NDArray[np.int32]
    num_keys: NDArray[np.int32]
    source: NDArray[np.int64] | None
    longest: int


def plan_varlen(
    segments: Sequence[Segment], size: int, *, causal: bool, longest: int | None = None
) -> VarlenPlan:
    """The segments of a packed row of `size` rows.

    Args:
        longest: of sequences that see both ways, which stay whole; None: what these need.
    """
    bound = BLOCK if causal else longest or max(BLOCK, longest_of(segments))
    source, first_rows = _copied(segments) if _shares(segments) else (None, _in_place(segments))
    queries, keys, num_keys = [0], [], []
    for segment, first in zip(segments, first_rows, strict=True):
        unseen = num_seen(segment) - (segment.end - segment.start)
        for end in _ends(segment.start, segment.end, bound):
            queries.append(end)
            keys.append(first)
            num_keys.append(unseen + end - segment.start)
    padding = _ends(segments[-1].end, size, bound)
    none = [0] * len(padding)
    return VarlenPlan(
        _ints(queries + padding), _ints([*keys, *none, 0]), _ints(num_keys + none), source, bound
    )


def fits(segments: Sequence[Segment], shape: Shape, *, causal: bool) -> bool:
    """Whether a plan of these segments can be laid out in the shape."""
    if segments[-1].end > shape.rows or not (causal or longest_of(segments) <= shape.longest):
        return False
    padding = Segment(segments[-1].end, shape.rows)
    num_sequences = sum(-(-(s.end - s.start) // shape.longest) for s in (*segments, padding))
    if num_sequences > shape.sequences or _shares(segments) != (shape.seen is not None):
        return False
    return shape.seen is None or sum(map(num_seen, segments)) <= shape.seen


def laid_out(segments: Sequence[Segment], shape: Shape, *, causal: bool) -> VarlenPlan:
    """The plan of segments that fit, with arrays of the shape's sizes."""
    plan = plan_varlen(segments, shape.rows, causal=causal, longest=shape.longest)
    missing = shape.sequences - len(plan.num_keys)
    source = plan.source
    return replace(
        plan,
        queries=np.pad(plan.queries, (0, missing), mode="edge"),
        keys=np.pad(plan.keys, (0, missing)),
        num_keys=np.pad(plan.num_keys, (0, missing)),
        source=source if source is None else np.pad(source, (0, (shape.seen or 0) - len(source))),
    )


def longest_of(segments: Sequence[Segment]) -> int:
    """The most rows that a segment has."""
    return max(segment.end - segment.start for segment in segments)


def _shares(segments: Sequence[Segment]) -> bool:
    """Whether some segment's prompt does not lie before it: another response is between."""
    return any(segment.prompt is not None and segment.prompt[1] != segment.start for segment in segments)


def _in_place(segments: Sequence[Segment]) -> list[int]:
    return [segment.prompt[0] if segment.prompt else segment.start for segment in segments]


def _copied(segments: Sequence[Segment]) -> tuple[NDArray[np.int64], list[int]]:
    """What each segment sees, one after another, and where each begins."""
    seen = [np.r_[slice(*(s.prompt or (0, 0))), s.start : s.end] for s in segments]
    return np.concatenate(seen), np.cumsum([0, *map(len, seen[:-1])]).tolist()


def num_seen(segment: Segment) -> int:
    """Rows that the segment's last query sees."""
    own = segment.end - segment.start
    return own if segment.prompt is None else own + segment.prompt[1] - segment.prompt[0]


def _ends(start: int, end: int, longest: int) -> list[int]:
    """Ends of sequences of at most `longest` rows that hold those from `start` to `end`."""
    return [min(first + longest, end) for first in range(start, end, longest)]


def _ints(numbers: Sequence[int]) -> NDArray[np.int32]:
    return np.array(numbers, dtype=np.int32)
