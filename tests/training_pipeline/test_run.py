"""Stages that are skipped, refused and run; nothing is trained here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training.pipeline.run import Stage, check_files, run_stages
from guerdon_training.pipeline.stamp import read_stamp


@dataclass(frozen=True)
class Settings:
    size: int


def stage(root: Path, name: str, inputs: tuple[Path, ...] = (), size: int = 1) -> Stage:
    """Writes its size and what it read."""
    folder = root / name
    out = folder / "out.txt"

    def run() -> None:
        out.write_text(f"{size} " + " ".join(p.read_text() for p in inputs))

    return Stage(name, folder, Settings(size), inputs, (out,), run)


@pytest.fixture
def two(tmp_path: Path) -> Callable[[int], list[Stage]]:
    (tmp_path / "data").write_text("one")

    def build(size: int) -> list[Stage]:
        first = stage(tmp_path, "first", (tmp_path / "data",), size)
        return [first, stage(tmp_path, "second", first.outputs)]

    return build


def test_what_is_done_is_skipped(two: Callable[[int], list[Stage]]) -> None:
    said: list[str] = []
    assert run_stages(two(1)) == ["first", "second"]
    assert run_stages(two(1), said.append) == []
    assert said == ["[1/2] first: done before, skipped", "[2/2] second: done before, skipped"]
    stamp = read_stamp(two(1)[0].folder)
    assert stamp is not None
    assert stamp.peak_rss_mib > 1


def test_a_stage_without_its_stamp_runs_again(two: Callable[[int], list[Stage]]) -> None:
    run_stages(two(1))
    (two(1)[1].folder / ".stamp.json").unlink()
    assert run_stages(two(1)) == ["second"]


def test_a_stage_that_fails_leaves_no_stamp(two: Callable[[int], list[Stage]], tmp_path: Path) -> None:
    def fail() -> None:
        raise OSError("no space left")

    first, second = two(1)
    broken = Stage("second", second.folder, second.config, second.inputs, second.outputs, fail)
    with pytest.raises(OSError, match="no space left"):
        run_stages([first, broken])
    assert run_stages(two(1)) == ["second"]


def test_a_change_is_refused_and_undoing_it_is_enough(
    two: Callable[[int], list[Stage]], tmp_path: Path
) -> None:
    run_stages(two(1))
    with pytest.raises(InvalidInput, match="first was finished with other settings: size was 1, is 2"):
        run_stages(two(2))
    (tmp_path / "data").write_text("two")
    with pytest.raises(InvalidInput, match=r"data changed.*remove what depends on it: .*first .*second"):
        run_stages(two(1))
    (tmp_path / "data").write_text("one")
    assert run_stages(two(1)) == []


def test_a_stage_whose_input_came_out_the_same_is_not_run_again(
    two: Callable[[int], list[Stage]], tmp_path: Path
) -> None:
    run_stages(two(1))
    (two(1)[0].folder / ".stamp.json").unlink()
    assert run_stages(two(1)) == ["first"]


def test_a_missing_file_is_found_before_anything_runs(
    two: Callable[[int], list[Stage]], tmp_path: Path
) -> None:
    check_files(two(1))
    late = stage(tmp_path, "late", (tmp_path / "nowhere",))
    with pytest.raises(InvalidInput, match=r"stage late reads .*nowhere, which does not exist"):
        check_files([*two(1), late])
    assert not (tmp_path / "first").exists()
