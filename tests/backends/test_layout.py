"""The plan of a packed row, against its own meaning: every token lies where the plan says."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.backends.layout import plan_layout, split_batch
from guerdon_service.core.encoded import Encoded


@st.composite
def batches(draw: st.DrawFn) -> list[Encoded]:
    prompts = draw(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4), min_size=1, max_size=3))
    return [
        Encoded(np.array(prompt + response, dtype=np.int32), len(prompt), truncated=False)
        for prompt, response in draw(
            st.lists(
                st.tuples(st.sampled_from(prompts), st.lists(st.integers(0, 9), min_size=1, max_size=5)),
                min_size=1,
                max_size=6,
            )
        )
    ]


@given(batch=batches(), split=st.booleans())
def test_every_token_lies_in_its_place(batch: list[Encoded], split: bool) -> None:
    layout = plan_layout(batch, split=split)
    packed = np.concatenate([e.input_ids for e in batch])[layout.source]
    for encoded, place in zip(batch, layout.places, strict=True):
        rows = [place.row(t) for t in range(encoded.num_tokens)]
        np.testing.assert_array_equal(packed[rows], encoded.input_ids)


@given(batch=batches(), split=st.booleans())
def test_segments_tile_the_row(batch: list[Encoded], split: bool) -> None:
    layout = plan_layout(batch, split=split)
    bounds = [(s.start, s.end) for s in layout.segments]
    assert bounds[0][0] == 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(bounds))
    assert bounds[-1][1] == len(layout.source)
    assert all(start < end for start, end in bounds)


@given(batch=batches())
def test_the_split_form_holds_each_prompt_once(batch: list[Encoded]) -> None:
    layout = plan_layout(batch, split=True)
    prompts = {e.input_ids[: e.prefix_len].tobytes() for e in batch}
    responses = sum(e.num_tokens - e.prefix_len for e in batch)
    assert len(layout.source) == responses + sum(len(p) // 4 for p in prompts)
    assert sum(s.prompt is None for s in layout.segments) == len(prompts)


@given(batch=batches(), max_rows=st.integers(9, 30), shared=st.booleans())
def test_parts_keep_order_and_fit(batch: list[Encoded], max_rows: int, shared: bool) -> None:
    parts = split_batch(batch, max_rows, shared=shared)
    assert [e for part in parts for e in part] == batch
    sizes = [len(plan_layout(part, split=shared).source) for part in parts]
    assert max(sizes) <= max_rows
    for part, following in itertools.pairwise(parts):
        grown = len(plan_layout([*part, following[0]], split=shared).source)
        assert grown > max_rows, "a part was cut before it was full"
