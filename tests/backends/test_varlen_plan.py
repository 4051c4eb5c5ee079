"""The plan that a kernel of all sequences reads, alone and laid out in sizes that do not change."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.backends.layout import Segment
from guerdon_service.backends.varlen_plan import Shape, fits, laid_out, plan_varlen

ALONE = (Segment(0, 5), Segment(5, 40), Segment(40, 41))
SHARED = (Segment(0, 30), Segment(30, 33, (0, 30)), Segment(33, 60, (0, 30)), Segment(60, 70))


def test_every_sequence_and_padding_are_in_the_plan() -> None:
    plan = plan_varlen(SHARED, 80)
    assert plan.queries.tolist() == [0, 30, 33, 60, 70, 80]
    assert plan.keys.tolist() == [0, 30, 63, 120, 130, 130], "padding sees nothing"
    assert plan.source is not None
    assert plan.source[30:63].tolist() == [*range(30), 30, 31, 32]
    assert plan_varlen(ALONE, 41).source is None


def test_the_bound_of_lengths_is_a_power_of_two_that_padding_keeps_too() -> None:
    assert plan_varlen(ALONE, 41).longest == 128
    plan = plan_varlen((Segment(0, 100), Segment(100, 130, (0, 100))), 1000)
    assert plan.longest == 256, "130 are seen"
    assert np.diff(plan.queries).max() <= 256
    assert plan.queries[-1] == 1000


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    prompt=st.integers(0, 20),
    sizes=st.tuples(st.integers(1, 200), st.integers(1, 16), st.integers(1, 300), st.integers(1, 80)),
)
def test_what_fits_is_laid_out_in_the_shape_and_says_the_same(
    lengths: list[int], prompt: int, sizes: tuple[int, int, int, int]
) -> None:
    ends = [prompt + end for end in itertools.accumulate(lengths, initial=0)]
    segments = (Segment(0, prompt), *(Segment(a, b, (0, prompt)) for a, b in itertools.pairwise(ends)))
    shape = Shape(*sizes)
    seen = prompt + sum(prompt + n for n in lengths)
    may = ends[-1] <= shape.rows and seen <= sizes[2] and prompt + max(lengths) <= shape.longest
    padding = -(-(shape.rows - ends[-1]) // shape.longest)
    assert fits(segments, shape) == (may and len(segments) + padding <= shape.sequences)
    if not fits(segments, shape):
        return
    own, laid = plan_varlen(segments, shape.rows, shape.longest), laid_out(segments, shape)
    assert (len(laid.queries), len(laid.keys)) == (shape.sequences + 1, shape.sequences + 1)
    assert laid.source is not None
    assert own.source is not None
    assert len(laid.source) == shape.seen
    assert set(laid.queries[len(own.queries) :]) <= {shape.rows}, "missing sequences have no rows"
    assert laid.queries[: len(own.queries)].tolist() == own.queries.tolist()
    assert laid.keys[: len(own.keys)].tolist() == own.keys.tolist()
    assert laid.keys[-1] == seen
    assert laid.source[:seen].tolist() == own.source.tolist()
    assert max(*np.diff(laid.queries), *np.diff(laid.keys)) <= shape.longest


@pytest.mark.parametrize("segments", [ALONE, SHARED[:1]])
def test_who_shares_nothing_sees_its_own_rows(segments: tuple[Segment, ...]) -> None:
    laid = laid_out(segments, Shape(64, 12, None, 64))
    assert laid.source is None
    assert laid.keys[-1] == segments[-1].end
