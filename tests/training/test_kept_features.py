"""Features are computed once for a trunk and its tokens."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from guerdon_service.core.errors import InvalidInput
from guerdon_training.encode import PairTokens
from guerdon_training.kept_features import kept_features

ROWS = [PairTokens((1, 2, 3), 2), PairTokens((1, 2, 3), 1), PairTokens((1, 2), 1)]


class Trunk:
    """Gives each row numbers of its own, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[PairTokens] = []

    def __call__(self, rows: list[PairTokens]) -> Tensor:
        self.asked += rows
        return torch.tensor([[len(r.input_ids) + 0.1, float(r.prefix_len)] for r in rows])


def test_only_what_is_new_is_computed_and_all_comes_in_order(tmp_path: Path) -> None:
    path, trunk = tmp_path / "made" / "d.safetensors", Trunk()
    first = kept_features(path, ROWS[:2], trunk)
    torch.testing.assert_close(first, Trunk()(ROWS[:2]), rtol=0, atol=0)
    again = kept_features(path, [ROWS[2], ROWS[1], ROWS[0]], trunk)
    torch.testing.assert_close(again, Trunk()([ROWS[2], ROWS[1], ROWS[0]]), rtol=0, atol=0)
    assert trunk.asked == ROWS
    kept_features(path, ROWS, trunk)
    assert trunk.asked == ROWS
    assert [p.name for p in path.parent.iterdir()] == ["d.safetensors"]


@pytest.mark.parametrize("data", [b"", b"no tensors", b"\x02\0\0\0\0\0\0\0{}"])
def test_a_file_that_holds_none_is_named_with_the_remedy(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "d.safetensors").write_bytes(data)
    with pytest.raises(InvalidInput, match=r"d\.safetensors holds no features .*; remove it"):
        kept_features(tmp_path / "d.safetensors", ROWS, Trunk())


def test_what_another_process_adds_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "d.safetensors"

    def slow(rows: list[PairTokens]) -> Tensor:
        kept_features(path, ROWS[:1], Trunk())  # while ours are computed
        return Trunk()(rows)

    kept_features(path, ROWS[1:], slow)
    trunk = Trunk()
    kept_features(path, ROWS, trunk)
    assert trunk.asked == []
