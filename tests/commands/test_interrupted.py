"""Ctrl-C at any moment of writing: each file is whole or not there, and nothing else is left."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from guerdon.cli.main import main
from guerdon_service.artifacts.policy import read_policy
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.whole_file import whole_folder
from guerdon_training.policy.base import policy_base
from tests.commands.cases import Given
from tests.commands.interrupt import interrupted
from tests.threads import one_thread

__all__ = ["one_thread"]

MAX_FILES = 99
FILES = {  # how many files each command writes
    "convert": 1,
    "audit": 1,
    "evaluate": 2,
    "rewardbench": 2,
    "export_feedback": 1,
    "suggest": 1,
}


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def cut_runs(given: Given, name: str, root: Path) -> Iterator[tuple[int, Path]]:
    """The command once for each file that it writes, interrupted there; its status and where it wrote."""
    for number in range(MAX_FILES):
        out = root / f"{name}-{number}"
        out.mkdir()
        argv = getattr(given, name)(out)
        with interrupted(out, number) as seen:
            status = main(argv)
        if status == 130 or number >= len(seen):  # else the file was left empty
            yield status, out
        if number >= len(seen):
            return


@pytest.mark.parametrize("name", FILES)
def test_an_output_is_whole_or_absent(given: Given, name: str, tmp_path: Path) -> None:
    *cut, (status, out) = cut_runs(given, name, tmp_path)
    assert status == (1 if name == "audit" else 0), "the audit finds something in these pairs"
    assert [status for status, _ in cut] == [130] * FILES[name]
    whole = files(out)
    for _, stopped in cut:
        left = files(stopped)
        assert left.keys() < whole.keys()
        assert {path: whole[path] for path in left} == left


def test_a_split_has_all_of_its_files_or_none(given: Given, tmp_path: Path) -> None:
    """Else an old test file could stand beside a new train file that holds its prompts."""
    *cut, (status, whole) = cut_runs(given, "split", tmp_path)
    assert (status, sorted(files(whole))) == (0, ["test.jsonl", "train.jsonl", "valid.jsonl"])
    assert cut
    assert all(files(out) in ({}, files(whole)) for _, out in cut)


def test_a_bench_leaves_its_figures_whole(given: Given, tmp_path: Path) -> None:
    *cut, (status, _) = cut_runs(given, "bench", tmp_path)
    assert (status, [list(files(out)) for _, out in cut]) == (0, [[], ["bench.json"]])
    assert json.loads((cut[1][1] / "bench.json").read_text("utf-8"))["figures"]


def test_a_bulk_run_continues_after_any_interruption(given: Given, tmp_path: Path) -> None:
    *cut, (status, out) = cut_runs(given, "score", tmp_path)
    assert status == 0 and len(cut) >= 2, "the results, and what they belong to"
    for _, stopped in cut:
        assert main(given.score(stopped)) == 0
        assert (stopped / "a.jsonl").read_bytes() == (out / "a.jsonl").read_bytes()


@pytest.mark.usefixtures("ready_graph")
def test_an_export_into_an_artifact_happens_or_does_not(given: Given, tmp_path: Path) -> None:
    *cut, (status, out) = cut_runs(given, "export", tmp_path)
    assert status == 0
    states = []
    for _, stopped in cut:
        left = files(stopped)
        assert not [path for path in left if "/." in path]
        digest = read_artifact(str(stopped / "model")).manifest.digest  # refuses what its seal does not cover
        states.append(("model/onnx/fp32.onnx" in left, digest))
    before, after = states[0], (True, read_artifact(str(out / "model")).manifest.digest)
    assert before[0] is False and before[1] != after[1]
    assert set(states) == {before, after}, "interrupted before the graphs were in place, and after"


def test_a_calibrated_copy_is_whole_or_absent(given: Given, tmp_path: Path) -> None:
    *cut, (status, out) = cut_runs(given, "calibrate", tmp_path)
    assert status == 0 and len(cut) == 2, "the manifest, and again with its digest"
    assert read_artifact(str(out / "model")).manifest.calibration.num_pairs == 120
    assert [(status, list(stopped.iterdir())) for status, stopped in cut] == [(130, [])] * 2


def test_training_leaves_a_whole_artifact_or_none(given: Given, tmp_path: Path) -> None:
    """Interrupted while it learns, at the first file of its artifact, and at its manifest."""
    out = tmp_path / "whole"
    with interrupted(out, MAX_FILES) as seen:
        assert main(given.train(out)) == 0
    is_visible = ["/.run/" not in str(path) for path in seen]
    for number in (1, is_visible.index(True), len(seen) - 1):
        stopped = tmp_path / str(number)
        with interrupted(stopped, number):
            assert main(given.train(stopped)) == 130
        left = {path for path in files(stopped) if "/." not in path}
        assert left == ({path for path in files(out) if "/." not in path} if is_visible[number] else set())
        if left:
            assert read_artifact(str(stopped / "artifact")).manifest.digest, "its seal covers every file"


def test_a_folder_that_was_not_finished_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), whole_folder(tmp_path / "model"):
        (tmp_path / "model" / "config.json").write_text("{}")
        _ = 1 / 0
    for read in (read_artifact, read_policy, policy_base):
        with pytest.raises(InvalidInput, match="not finished"):
            read(str(tmp_path / "model"))
    with whole_folder(tmp_path / "model"):
        pass
    assert [p.name for p in (tmp_path / "model").iterdir()] == ["config.json"]
