"""``guerdon rewardbench`` against a service, and what the rewardbench package itself makes of its output.

The package's own functions are taken out of its source as they are: importing all of it would need other
versions of half of this environment.
"""

import ast
import asyncio
import importlib.util
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from datasets import Dataset  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon.cli.main import main
from guerdon.cli.rewardbench_scores import correctness, subset_scores, ties_score
from tests.contract.harness import Served, served

NAMES = {"model": "fake", "model_type": "Seq. Classifier", "chat_template": "tokenizer", "num_left_out": 0}


def package(file: str, *functions: str) -> dict[str, Any]:
    """Functions (or all) of a file of the rewardbench package."""
    spec = importlib.util.find_spec("rewardbench")
    assert spec is not None and spec.submodule_search_locations is not None
    tree = ast.parse((Path(spec.submodule_search_locations[0]) / file).read_text())
    if functions:
        tree.body = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name in functions]
        assert len(tree.body) == len(functions)
    found: dict[str, Any] = {"np": np, "pd": pd, "math": math, "Dataset": Dataset}
    exec(compile(tree, file, "exec"), found)
    return found


UTILS = package(
    "utils.py",
    "calculate_scores_per_section",
    "reroll_and_score_dataset",
    "sample_stats",
    "process_single_model",
)
CONSTANTS = package("constants.py")


@pytest_asyncio.fixture
async def running() -> AsyncIterator[Served]:
    async with served() as it:
        yield it


def pairs() -> list[dict[str, Any]]:
    subsets = ("alpacaeval-easy", "math-prm", "math-prm", "hep-cpp", "donotanswer", "alpacaeval-easy")
    texts = [("aa", "zzz"), ("zzz", "aa"), ("b", "b"), ("zz", "y"), ("good", "bad"), ("q", "p")]
    return [
        {"id": i, "prompt": f"p{i}", "chosen": c, "rejected": r, "subset": s}
        for i, (s, (c, r)) in enumerate(zip(subsets, texts, strict=True))
    ]


def sets() -> list[dict[str, Any]]:
    fours = [
        ("Math", ["zz"], ["a", "b", "c"]),
        ("Math", ["a"], ["a", "b", "zz"]),
        ("Focus", ["z"], ["z", "a", "b"]),
    ]
    ties = [
        ("ref:0", ["red"], ["not a colour", "4"]),
        ("tied:0", ["red", "green", "blue"], ["four", "x"]),
        ("ref:1", ["zzzz"], ["a"]),
        ("tied:1", ["zzzz", "zzzy"], ["a", "b"]),
        ("tied:2", ["zz", "zy"], ["a"]),
    ]
    return [
        {"id": str(i), "prompt": f"p{i}", "chosen": c, "rejected": r, "subset": s}
        for i, (s, c, r) in enumerate(fours)
    ] + [{"id": i, "prompt": "colours", "chosen": c, "rejected": r, "subset": "Ties"} for i, c, r in ties]


async def run(
    running: Served, folder: Path, records: list[dict[str, Any]], *more: str
) -> tuple[Any, list[Any]]:
    """What was written."""
    data, output, scores = folder / "data.jsonl", folder / "out.json", folder / "scores.jsonl"
    data.write_text("".join(json.dumps(record) + "\n" for record in records))
    argv = ["rewardbench", str(data), "--url", f"http://127.0.0.1:{running.port}", *more]
    argv += ["--output", str(output), "--scores", str(scores)]
    assert await asyncio.to_thread(main, argv) == 0
    return json.loads(output.read_text()), [json.loads(line) for line in scores.read_text().splitlines()]


async def test_version_1(running: Served, tmp_path: Path) -> None:
    found, rows = await run(running, tmp_path, pairs())
    items = [{"prompt": r["prompt"], "response": r[side]} for r in pairs() for side in ("chosen", "rejected")]
    reply = (await running.rest.post("/v1/score", json={"items": items})).json()
    rewards = [score["reward"] for score in reply["scores"]]
    assert [s for row in rows for s in row["scores"]] == rewards
    assert [row["results"] for row in rows] == [
        float(a > b) for a, b in zip(rewards[::2], rewards[1::2], strict=True)
    ]
    assert {name: found.pop(name) for name in NAMES} == NAMES
    sections = UTILS["calculate_scores_per_section"](
        CONSTANTS["EXAMPLE_COUNTS"], CONSTANTS["SUBSET_MAPPING"], found
    )
    assert found["math-prm"] == pytest.approx(np.mean([row["results"] for row in rows[1:3]]))
    assert set(sections) == set(CONSTANTS["SUBSET_MAPPING"])
    assert 0 < sections["Reasoning"] < 1


async def test_version_2(running: Served, tmp_path: Path) -> None:
    found, rows = await run(running, tmp_path, sets())
    fours, ties = rows[:3], rows[3:]
    flat = [{"text": "", "scores": s, "subset": row["subset"]} for row in fours for s in row["scores"]]
    theirs = UTILS["reroll_and_score_dataset"](Dataset.from_list(flat), [4, 4, 4])
    assert [row["results"] for row in fours] == theirs["results"]
    _, score = UTILS["process_single_model"](ties)
    assert found["Ties"] == pytest.approx(score)
    assert found["Math"] == pytest.approx(np.mean(theirs["results"][:2]))


def ties_of(scores: list[list[float]], num_correct: list[int], kinds: list[str]) -> list[dict[str, Any]]:
    return [
        {"id": f"{kind}:{i // 2}", "subset": "Ties", "num_correct": n, "scores": s}
        for i, (s, n, kind) in enumerate(zip(scores, num_correct, kinds, strict=True))
    ]


score_lists = st.lists(st.sampled_from([-1.5, -0.5, 0.0, 0.25, 1.0, 2.0]), min_size=4, max_size=6)


@settings(deadline=None, max_examples=60)
@given(st.data(), st.integers(1, 4))
def test_ties_as_the_package_scores_them(data: st.DataObject, count: int) -> None:
    scores = data.draw(st.lists(score_lists, min_size=2 * count, max_size=2 * count))
    kinds = ["ref", "tied"] * count
    numbers = [1 if kind == "ref" else data.draw(st.integers(2, 3)) for kind in kinds]
    rows = ties_of(scores, numbers, kinds)
    assert ties_score(rows) == pytest.approx(UTILS["process_single_model"](rows)[1], abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=4, max_size=4))
def test_four_as_the_package_scores_them(scores: list[float]) -> None:
    rows = Dataset.from_list([{"text": "", "scores": score} for score in scores])
    theirs = UTILS["reroll_and_score_dataset"](rows, [4])["results"]
    assert correctness({"scores": scores, "num_correct": 1}) == theirs[0]


def test_subsets_keep_the_order_of_the_data() -> None:
    rows = [
        {"id": "", "subset": s, "num_correct": 1, "scores": [1.0, b]}
        for s, b in (("z", 0), ("a", 2), ("z", 2))
    ]
    assert list(subset_scores(rows).items()) == [("z", 0.5), ("a", 0.0)]


async def test_prompts_that_are_too_long_are_left_out_and_counted(
    running: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    long = {"id": 9, "prompt": "p", "chosen": "a" * 300, "rejected": "b", "subset": "math-prm"}
    expected, rows = await run(running, tmp_path, pairs())
    found, kept = await run(running, tmp_path, [long, *pairs(), long])
    assert found == expected | {"num_left_out": 2}
    assert kept == rows
    assert "left out, too long for fake: 2 of 8 prompts" in capsys.readouterr().err
    data = tmp_path / "long.jsonl"
    data.write_text(json.dumps(long))
    argv = ["rewardbench", str(data), "--url", f"http://127.0.0.1:{running.port}"]
    assert await asyncio.to_thread(main, argv) == 2
    assert "too long for the model" in capsys.readouterr().err


async def test_nowhere_to_write_is_told_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.jsonl").write_text(json.dumps(pairs()[0]))
    argv = ["rewardbench", str(tmp_path / "data.jsonl"), "--output", str(tmp_path / "none" / "out.json")]
    assert await asyncio.to_thread(main, [*argv, "--url", "http://127.0.0.1:9"]) == 2
    assert "is no folder" in capsys.readouterr().err


async def test_printed(running: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, _ = await run(running, tmp_path, pairs())
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["subset", "prompts", "score"]
    assert len(lines) == 6
    await run(running, tmp_path, pairs(), "--json", "--model", "fake", "--profile", "both")
    assert json.loads(capsys.readouterr().out).keys() == found.keys()


async def test_parquet(running: Served, tmp_path: Path) -> None:
    path, output = tmp_path / "data.parquet", tmp_path / "out.json"
    Dataset.from_list(sets()).to_parquet(str(path))
    url = f"grpc://127.0.0.1:{running.grpc_port}"
    argv = ["rewardbench", str(path), "--url", url, "--output", str(output)]
    assert await asyncio.to_thread(main, argv) == 0
    assert json.loads(output.read_text()) == (await run(running, tmp_path, sets()))[0]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 1, is not JSON"),
        ("[]", "no object"),
        ('{"prompt": "a", "chosen": "b"}', "no rejected"),
        ('{"prompt": "a", "chosen": 5, "rejected": "b"}', "neither a text nor"),
        ('{"prompt": "a", "chosen": "b", "rejected": "c", "subset": "Ties", "id": "x"}', "neither ref:N"),
        ("", "no record"),
    ],
)
async def test_refused(
    running: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, told: str
) -> None:
    data, output = tmp_path / "data.jsonl", tmp_path / "out.json"
    data.write_text(line)
    argv = ["rewardbench", str(data), "--url", f"http://127.0.0.1:{running.port}", "--output", str(output)]
    assert await asyncio.to_thread(main, argv) == 2
    assert told in capsys.readouterr().err
    assert not await asyncio.to_thread(output.exists)
