"""The plan that a kernel of all sequences reads, alone and laid out in sizes that do not change."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.backends.layout import Segment
from guerdon_service.backends.varlen_plan import BLOCK, Shape, VarlenPlan, fits, laid_out, plan_varlen

ALONE = (Segment(0, 5), Segment(5, 40), Segment(40, 41))
SHARED = (Segment(0, 30), Segment(30, 33, (0, 30)), Segment(33, 60, (0, 30)), Segment(60, 70))
IN_PLACE = (Segment(0, 200), Segment(200, 460, (0, 200)), Segment(460, 470), Segment(470, 480, (460, 470)))


def seen(plan: VarlenPlan) -> list[tuple[range, list[int]]]:
    """Of each sequence: its rows, and those that it sees."""
    rows = np.arange(10_000) if plan.source is None else plan.source
    return [
        (range(plan.queries[i], plan.queries[i + 1]), rows[plan.keys[i] :][: plan.num_keys[i]].tolist())
        for i in range(len(plan.num_keys))
    ]


def test_responses_to_one_prompt_see_copies_and_padding_sees_nothing() -> None:
    plan = plan_varlen(SHARED, 80, causal=True)
    assert seen(plan) == [
        (range(30), [*range(30)]),
        (range(30, 33), [*range(33)]),
        (range(33, 60), [*range(30), *range(33, 60)]),
        (range(60, 70), [*range(60, 70)]),
        (range(70, 80), []),
    ]


def test_what_follows_its_prompt_is_seen_in_place_block_by_block() -> None:
    plan = plan_varlen(IN_PLACE, 500, causal=True)
    assert plan.source is None
    assert plan.longest == BLOCK
    assert seen(plan) == [
        (range(128), [*range(128)]),
        (range(128, 200), [*range(200)]),
        (range(200, 328), [*range(328)]),
        (range(328, 456), [*range(456)]),
        (range(456, 460), [*range(460)]),
        (range(460, 470), [*range(460, 470)]),
        (range(470, 480), [*range(460, 480)]),
        (range(480, 500), []),
    ]


def test_who_sees_both_ways_stays_whole() -> None:
    plan = plan_varlen((Segment(0, 300), Segment(300, 310)), 400, causal=False)
    assert seen(plan) == [
        (range(300), [*range(300)]),
        (range(300, 310), [*range(300, 310)]),
        (range(310, 400), []),
    ]
    assert plan.longest == 300
    assert plan_varlen(ALONE, 41, causal=False).longest == BLOCK


@given(
    prompts=st.lists(
        st.tuples(st.integers(1, 300), st.lists(st.integers(1, 300), min_size=1, max_size=4)),
        min_size=1,
        max_size=3,
    ),
    sizes=st.tuples(st.integers(1, 3000), st.integers(1, 24), st.none() | st.integers(1, 4000)),
)
def test_what_fits_is_laid_out_in_the_shape_and_says_the_same(
    prompts: list[tuple[int, list[int]]], sizes: tuple[int, int, int | None]
) -> None:
    segments: list[Segment] = []
    for prompt, responses in prompts:
        start = segments[-1].end if segments else 0
        segments.append(Segment(start, start + prompt))
        ends = itertools.accumulate(responses, initial=start + prompt)
        segments += [Segment(a, b, (start, start + prompt)) for a, b in itertools.pairwise(ends)]
    shape = Shape(*sizes, BLOCK)
    shares = any(len(responses) > 1 for _, responses in prompts)
    num_seen = sum(s.end - s.start + (s.prompt[1] - s.prompt[0] if s.prompt else 0) for s in segments)
    own = plan_varlen(segments, max(shape.rows, segments[-1].end), causal=True)
    may = segments[-1].end <= shape.rows and len(own.num_keys) <= shape.sequences
    holds = num_seen <= shape.seen if shares and shape.seen is not None else not shares and shape.seen is None
    assert fits(segments, shape, causal=True) == (may and holds)
    if not fits(segments, shape, causal=True):
        return
    laid = laid_out(segments, shape, causal=True)
    assert (len(laid.queries), len(laid.keys), len(laid.num_keys)) == (
        shape.sequences + 1, shape.sequences + 1, shape.sequences,
    )  # fmt: skip
    assert (None if laid.source is None else len(laid.source)) == shape.seen
    assert seen(laid)[: len(own.num_keys)] == seen(own)
    assert all((len(rows), keys) == (0, []) for rows, keys in seen(laid)[len(own.num_keys) :])


@pytest.mark.parametrize("longest", [128, 130])
def test_an_encoders_segment_fits_where_it_is_not_cut(longest: int) -> None:
    shape = Shape(512, 8, None, longest)
    assert fits((Segment(0, 130),), shape, causal=False) == (longest == 130)
    assert fits((Segment(0, 130),), shape, causal=True)
