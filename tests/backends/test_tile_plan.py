"""The tiles that a kernel of all segments reads, as many as these need and as many as a shape has."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from guerdon_service.backends.layout import Segment
from guerdon_service.backends.tile_plan import Shape, fits, heads_of_tile, plan_tiles, rows_of_tile

SHARED = (Segment(0, 30), Segment(30, 33, (0, 30)), Segment(33, 60, (0, 30)), Segment(60, 70))


def seen(plan: NDArray[np.int32]) -> list[tuple[range, list[int]]]:
    """Of each tile: its rows, and those that it sees."""
    return [(range(*t[:2]), [*range(*t[2:4]), *range(*t[4:])]) for t in plan.tolist()]


def test_responses_see_their_prompt_and_the_heaviest_tiles_come_first() -> None:
    assert seen(plan_tiles(SHARED, 80, rows=16, causal=True)) == [
        (range(49, 60), [*range(30), *range(33, 60)]),
        (range(33, 49), [*range(30), *range(33, 49)]),
        (range(30, 33), [*range(33)]),
        (range(16, 30), [*range(30)]),
        (range(16), [*range(16)]),
        (range(60, 70), [*range(60, 70)]),
        (range(70, 80), []),
    ]


def test_who_sees_both_ways_sees_the_whole_segment_from_every_tile() -> None:
    assert seen(plan_tiles((Segment(0, 20), Segment(20, 30)), 40, rows=16, causal=False)) == [
        (range(16), [*range(20)]),
        (range(16, 20), [*range(20)]),
        (range(20, 30), [*range(20, 30)]),
        (range(30, 40), []),
    ]


@given(
    prompts=st.lists(
        st.tuples(st.integers(1, 60), st.lists(st.integers(1, 60), min_size=1, max_size=4)),
        min_size=1,
        max_size=3,
    ),
    size=st.integers(1, 800),
    num_tiles=st.integers(1, 40),
    rows=st.sampled_from([16, 32, 128]),
)
def test_every_row_is_in_one_tile_and_a_shape_adds_tiles_without_rows(
    prompts: list[tuple[int, list[int]]], size: int, num_tiles: int, rows: int
) -> None:
    segments: list[Segment] = []
    for prompt, responses in prompts:
        start = segments[-1].end if segments else 0
        segments.append(Segment(start, start + prompt))
        ends = itertools.accumulate(responses, initial=start + prompt)
        segments += [Segment(a, b, (start, start + prompt)) for a, b in itertools.pairwise(ends)]
    end = segments[-1].end
    own = plan_tiles(segments, max(size, end), rows=rows, causal=True)
    assert sorted(row for first, last in own[:, :2] for row in range(first, last)) == [*range(max(size, end))]
    assert (own[:, 1] - own[:, 0]).max() <= rows
    assert fits(segments, Shape(size, num_tiles), rows=rows) == (end <= size and len(own) <= num_tiles)
    if fits(segments, Shape(size, num_tiles), rows=rows):
        laid = plan_tiles(segments, size, rows=rows, causal=True, num_tiles=num_tiles)
        assert len(laid) == num_tiles
        assert laid[: len(own)].tolist() == own.tolist()
        assert not laid[len(own) :].any()


@pytest.mark.parametrize(
    ("groups", "heads"), [(1, 1), (2, 2), (3, 1), (4, 4), (6, 2), (7, 1), (8, 8), (16, 8)]
)
def test_heads_that_share_keys_share_tiles_in_powers_of_two(groups: int, heads: int) -> None:
    assert heads_of_tile(groups) == heads
    assert heads * rows_of_tile(groups) == 128
