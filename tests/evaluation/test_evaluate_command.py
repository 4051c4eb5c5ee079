import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from guerdon.cli.main import main
from guerdon_service.app.evaluate import evaluate_command
from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.evaluation import EvaluationQuery
from guerdon_service.evaluation.service import EvaluationService
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from tests.evaluation.data import pairs, write
from tests.evaluation.replica import Gate, Replica
from tests.fakes import running_service
from tests.tiny import build_tiny


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Folders of two models, ``first`` and ``second``."""
    root = tmp_path_factory.mktemp("models")
    return str(build_tiny("bert", root / "first")), str(build_tiny("bert", root / "second", seed=1))


def run(*argv: object) -> int:
    return evaluate_command([str(a) for a in argv])


async def by_job(store: SqlEvaluationStore, folder: Path, models: tuple[str, str]) -> Any:
    specs = [ModelSpec(Path(source).name, source) for source in models]
    async with running_service(*specs, load=load_model) as scoring:
        evaluator = EvaluationService(scoring, store, folder)
        replica = Replica(scoring, evaluator, {}, Gate())
        replica.work()
        started = await evaluator.start(EvaluationQuery("first", "pairs.jsonl", "second"))
        ended = await replica.ended(started.id)
        await replica.kill()
    assert ended.state == "done", ended.error
    return ended.report


def test_command_and_job_give_identical_numbers(
    models: tuple[str, str],
    store: SqlEvaluationStore,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:

    folder = tmp_path / "data"
    folder.mkdir()
    data = write(folder / "pairs.jsonl", pairs(40))
    out, page, notes, bench = (tmp_path / n for n in ("out.json", "page.html", "notes.md", "bench.json"))
    outputs = ["--json", out, "--report", page, "--markdown", notes, "--rewardbench", bench]
    kept = tmp_path / "second.json"
    assert run("--model", models[1], "--data", data, "--json", kept) == 0
    assert "%" not in capsys.readouterr().err  # a bar is for a terminal, not for a log
    assert run("--model", models[0], "--against", kept, "--data", data, *outputs) == 0
    text = capsys.readouterr().out
    report = json.loads(out.read_text())["report"]
    assert report == asyncio.run(by_job(store, folder, models))
    assert f"verdict {report['comparison']['verdict'].upper()}" in text
    assert "first@" in text and "second@" in text
    assert page.read_text().startswith("<!doctype html>")
    assert notes.read_text().startswith("### Evaluation: ")
    assert json.loads(bench.read_text())["model"] == "first"

    other = write(tmp_path / "other.jsonl", pairs(3))
    with pytest.raises(InvalidInput, match="scores of other data"):
        run("--model", out, "--data", other)
    with pytest.raises(InvalidInput, match="the very model"):
        run("--model", out, "--against", out, "--data", data)


def test_robustness_is_measured_on_a_sample(
    models: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = write(tmp_path / "pairs.jsonl", pairs(12)), tmp_path / "out.json"
    assert run("--model", models[0], "--data", data, "--robustness", 5, "--json", out) == 0
    rows = json.loads(out.read_text())["report"]["candidate"]["robustness"]
    assert {row["transform"] for row in rows} >= {"whitespace", "typos", "prompt echo", "empty"}
    assert {row["num_pairs"] for row in rows} == {5}
    page, notes = tmp_path / "page.html", tmp_path / "notes.md"
    capsys.readouterr()
    outputs = ["--report", page, "--markdown", notes, "--json", tmp_path / "again.json"]
    assert run("--model", models[1], "--against", out, "--data", data, "--robustness", 5, *outputs) == 0
    report = json.loads((tmp_path / "again.json").read_text())["report"]
    assert report["baseline"]["robustness"] == rows  # kept with the scores
    for text in (capsys.readouterr().out, page.read_text(), notes.read_text()):
        assert "refusal prefix" in text and text.count("prompt echo") == 2


def test_the_embedded_model_goes_by_its_word_and_its_name(tmp_path: Path) -> None:
    data, out = write(tmp_path / "pairs.jsonl", pairs(3)), tmp_path / "out.json"
    assert run("--model", "default", "--data", data, "--json", out) == 0
    assert json.loads(out.read_text())["report"]["candidate"]["model"]["name"] == "guerdon-minilm"
    with pytest.raises(InvalidInput, match="the very model"):
        run("--model", "guerdon-minilm", "--against", out, "--data", data)


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write(tmp_path / "pairs.jsonl", [*pairs(2), {"prompt": "p"}])
    assert main(["evaluate", "--model", "guerdon-minilm", "--data", str(data)]) == 2
    assert f"guerdon: {data}:3 is no preference record" in capsys.readouterr().err
    assert main(["evaluate", "--model", "x", "--data", str(data), "--margin", "2"]) == 2
    assert "margin is 2.0" in capsys.readouterr().err
    missing = ["--json", str(tmp_path / "none" / "out.json")]
    assert main(["evaluate", "--model", "x", "--data", str(data), *missing]) == 2
    assert "its folder does not exist" in capsys.readouterr().err
    (tmp_path / "kept.json").write_text("{}")
    good = write(tmp_path / "good.jsonl", pairs(2))
    assert main(["evaluate", "--model", str(tmp_path / "kept.json"), "--data", str(good)]) == 2
    assert "no kept evaluation" in capsys.readouterr().err
