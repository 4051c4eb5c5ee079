"""Splitting loses nothing, keeps order and obeys both limits."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from guerdon.client.chunks import plan_chunks

SIZES = st.lists(st.integers(1, 50), max_size=60)


@given(SIZES, st.integers(1, 12), st.integers(1, 120))
def test_chunks_partition_the_list_within_the_limits(
    sizes: list[int], max_items: int, max_bytes: int
) -> None:
    chunks = plan_chunks(sizes, max_items, max_bytes)
    assert [i for chunk in chunks for i in chunk] == list(range(len(sizes)))
    for chunk in chunks:
        assert 1 <= len(chunk) <= max_items
        assert sum(sizes[i] for i in chunk) <= max_bytes or len(chunk) == 1


@given(SIZES, st.integers(1, 12), st.integers(1, 120))
def test_no_chunk_could_take_its_successors_first_item(
    sizes: list[int], max_items: int, max_bytes: int
) -> None:
    chunks = plan_chunks(sizes, max_items, max_bytes)
    for chunk, following in pairwise(chunks):
        total = sum(sizes[i] for i in chunk) + sizes[following.start]
        assert len(chunk) == max_items or total > max_bytes
