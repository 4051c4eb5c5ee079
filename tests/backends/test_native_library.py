"""What all kernels in C share."""

import threading

import pytest

from guerdon_service.backends.native.library import in_parts
from guerdon_service.backends.threads import on_threads


def test_no_part_runs_any_more_once_one_has_failed() -> None:
    returned = threading.Event()
    seen_by_the_other = []

    def run(begin: int, end: int) -> None:
        if begin == 0:
            raise MemoryError("of the first part")
        seen_by_the_other.append(returned.wait(0.2))

    with on_threads(2), pytest.raises(MemoryError, match="of the first part"):
        in_parts(2, run)
    returned.set()
    assert seen_by_the_other == [False]


@pytest.mark.parametrize(("count", "num_threads"), [(0, 2), (1, 2), (7, 1), (7, 3)])
def test_parts_are_all_there_is_once(count: int, num_threads: int) -> None:
    parts = []
    with on_threads(num_threads):
        in_parts(count, lambda begin, end: parts.append(range(begin, end)))
    assert sorted(i for part in parts for i in part) == list(range(count))
