"""Which pairs are changed, and how many."""

from pathlib import Path

import pytest

from guerdon_service.evaluation.robustness import probes
from tests.evaluation.data import pairs, write


@pytest.mark.parametrize("asked", [1, 7, 11, 12, 50])
def test_the_sample_is_spread_evenly_through_the_files(tmp_path: Path, asked: int) -> None:
    """A file comes in the order of its subsets: its first half says nothing of the others."""
    files = (write(tmp_path / "pairs.jsonl", pairs(12)),)
    places = [int(item.id.removeprefix("pair-")) for item in probes(files, asked)]
    assert len(places) == min(asked, 12)
    ends = [*places, 12]
    gaps = [after - place for place, after in zip(places, ends[1:], strict=True)]
    assert places[0] == 0 and max(gaps) - min(gaps) <= 1
