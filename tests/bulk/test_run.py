"""Whatever dies, every row is there once, with the service's own score."""

import asyncio
import json
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from pyarrow import parquet

from guerdon.cli.main import main
from guerdon_service.app.build import build_scorer, load_models
from guerdon_service.app.settings import ModelSettings, Settings
from guerdon_service.bulk.local import LocalEngine
from guerdon_service.bulk.output import Output
from guerdon_service.bulk.plan import Plan
from guerdon_service.bulk.ray_engine import RayEngine
from guerdon_service.bulk.run import Summary, run_plan
from guerdon_service.core.errors import BackendFailed, InvalidInput
from guerdon_service.core.ports import NullObserver
from tests.bulk.data import (
    FAKE,
    Record,
    check_equal,
    open_fake,
    open_model,
    plan_of,
    planned,
    read_output,
    records,
    service_scores,
    write_lines,
    write_parquet,
)
from tests.bulk.deaths import one_dies, open_dead
from tests.fakes import running_service
from tests.tiny import tiny

ROWS = 90


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "in.jsonl", records(ROWS))


@pytest.fixture(scope="module")
def by_service() -> list[Record]:
    """The tiny model's scores as a service with default settings gives them."""

    async def ask() -> list[Record]:
        settings = Settings(models={"tiny": ModelSettings(source=str(tiny("bert")))})
        scorer = build_scorer(settings, NullObserver())
        await load_models(scorer, settings)
        try:
            return await service_scores(scorer, records(ROWS))
        finally:
            await scorer.close()

    return asyncio.run(ask())


@pytest.fixture(scope="module")
def by_fake() -> list[Record]:
    """The same of a service over fakes."""

    async def ask() -> list[Record]:
        async with running_service() as scorer:
            return await service_scores(scorer, records(ROWS))

    return asyncio.run(ask())


def run_fake(plan: Plan, output: Path | str) -> Summary:
    return run_plan(plan, str(output), LocalEngine(), open_fake, lambda rows: None)


def parts(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.glob("part-*")}


def check_output(output: Path, scores: list[Record]) -> None:
    rows = read_output(output)
    assert [row["row"] for row in rows] == list(range(ROWS)), "every row once"
    assert [row["id"] for row in rows] == [f"r{i}" for i in range(ROWS)]
    check_equal(rows, scores)


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_killed_driver_is_continued(
    engine: str, source: Path, tmp_path: Path, by_fake: list[Record]
) -> None:
    """By an engine of another kind, even: here the simplest."""
    output = tmp_path / "out"
    argv = [sys.executable, "-m", "tests.bulk.deaths", engine, str(source), str(output)]
    assert subprocess.run(argv, check=False).returncode == -signal.SIGKILL
    left = len(list(output.glob("part-*")))
    assert left in (3, 4), "killed in the middle, with parts on disk"
    told: list[int] = []
    summary = run_plan(plan_of([source], 8), str(output), LocalEngine(1), open_fake, told.append)
    assert summary.resumed_slices in (3, 4)
    assert sum(told) == summary.num_rows == ROWS
    check_output(output, by_fake)
    assert summary.num_tokens == sum(score["tokens"] for score in by_fake)


def test_a_killed_actor_is_replaced(source: Path, tmp_path: Path, by_service: list[Record]) -> None:
    output, mark, model = tmp_path / "out", tmp_path / "died", tiny("bert")
    plan = plan_of([source], 8, planned(model))
    summary = run_plan(plan, str(output), RayEngine(2), one_dies(open_model(model), mark), lambda rows: None)
    assert mark.exists(), "one actor died in the middle of a slice"
    assert (summary.engine, summary.num_rows, summary.num_errors) == ("ray", ROWS, 0)
    check_output(output, by_service)


def test_a_killed_worker_is_replaced(source: Path, tmp_path: Path) -> None:
    plan = plan_of([source], 8)
    run_fake(plan, tmp_path / "undisturbed")
    mark = tmp_path / "died"
    summary = run_plan(
        plan, str(tmp_path / "out"), LocalEngine(2), one_dies(open_fake, mark), lambda rows: None
    )
    assert mark.exists()
    assert summary.num_rows == ROWS
    assert parts(tmp_path / "out") == parts(tmp_path / "undisturbed")


def test_workers_that_keep_dying_end_the_run(source: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendFailed, match=r"3 workers died .*SIGKILL"):
        run_plan(plan_of([source], ROWS), str(tmp_path / "out"), LocalEngine(2), open_dead, lambda rows: None)


def test_another_artifact_on_a_worker_is_refused(source: Path, tmp_path: Path) -> None:
    plan = plan_of([source], 50, replace(FAKE, digest="another"))
    for engine in (LocalEngine(1), LocalEngine(2), RayEngine(1)):  # whatever stands between it and us
        with pytest.raises(InvalidInput, match="give every worker the same artifact"):
            run_plan(plan, str(tmp_path / "out"), engine, open_fake, lambda rows: None)


async def test_every_kind_of_input_gives_the_services_scores(tmp_path: Path) -> None:
    given = records(40)
    write_lines(tmp_path / "a.jsonl", given[:10])
    write_lines(tmp_path / "b.jsonl.gz", given[10:25])
    write_parquet(tmp_path / "c.parquet", given[25:], 6)
    output = tmp_path / "out"
    await asyncio.to_thread(run_fake, plan_of([tmp_path / "*.jsonl*", tmp_path / "c.parquet"], 7), output)
    async with running_service() as scorer:
        check_equal(read_output(output), await service_scores(scorer, given))


def test_a_bad_row_is_an_error_beside_its_neighbours_scores(tmp_path: Path) -> None:
    good, long = records(3), {"prompt": "a", "response": "x" * 64, "id": "long"}
    source = write_lines(tmp_path / "in.jsonl", [good[0], "torn", good[1], long, "", {"id": 5}, good[2]])
    summary = run_fake(plan_of([source], 100), tmp_path / "out")
    rows = read_output(tmp_path / "out")
    assert (summary.num_rows, summary.num_errors) == (6, 3)
    assert [row["row"] for row in rows] == [0, 1, 2, 3, 5, 6]
    assert [row["reward"] is None for row in rows] == [row["error"] is not None for row in rows]
    assert rows[3]["error"] == {
        "code": "input_too_long",
        "message": "response is too long; shorten it",
        "param": "response",
    }
    assert (rows[4]["id"], rows[4]["error"]["param"]) == ("5", "prompt")


def test_a_finished_run_does_nothing_more(source: Path, tmp_path: Path) -> None:
    plan = plan_of([source], 20)
    run_fake(plan, tmp_path / "out")
    summary = run_plan(plan, str(tmp_path / "out"), LocalEngine(), open_dead, lambda rows: None)
    assert (summary.resumed_slices, summary.resumed_rows) == (5, ROWS)


def test_what_is_torn_is_done_again_and_nothing_else(source: Path, tmp_path: Path) -> None:
    output, plan = tmp_path / "out", plan_of([source], 10)
    run_fake(plan, output)
    whole = parts(output)
    (output / "part-000000.parquet").unlink()
    (output / "part-000001.parquet").write_bytes(whole["part-000001.parquet"][:-1])
    (output / "_guerdon" / "done-000002.json").unlink()
    draft = output / "_guerdon" / "draft-0"
    draft.write_bytes(b"half")
    assert run_fake(plan, output).resumed_slices == len(whole) - 3
    assert parts(output) == whole
    assert not draft.exists()


def test_a_full_disk_stops_the_run_with_nothing_half_written(source: Path, tmp_path: Path) -> None:
    output, plan = tmp_path / "out", plan_of([source], 30)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2500, before[1]))  # a file ends there as on a full disk
    try:
        with pytest.raises(InvalidInput, match=r"cannot be written .* run the same command again"):
            run_fake(plan, output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in output.rglob("*")) == ["_guerdon", "lock", "plan.json"]
    assert run_fake(plan, output).resumed_slices == 0
    assert len(read_output(output)) == ROWS


def test_an_output_is_one_runs_alone(source: Path, tmp_path: Path) -> None:
    plan, output = plan_of([source], 50), tmp_path / "out"
    held = Output(str(output))
    held.claim(plan)
    with pytest.raises(InvalidInput, match="being written by another run"):
        run_fake(plan, output)
    held.release()
    run_fake(plan, output)
    with pytest.raises(InvalidInput, match="--slice-rows"):
        run_fake(plan_of([source], 51), output)
    with pytest.raises(InvalidInput, match=r"holds in\.jsonl"):
        run_fake(plan, tmp_path)


def test_outputs_and_inputs_may_be_urls(source: Path, tmp_path: Path) -> None:
    fsspec.filesystem("memory").pipe_file("/bulk/in.jsonl", source.read_bytes())
    url = "memory://bulk/out"
    assert run_fake(plan_of(["memory://bulk/*.jsonl"], 40), url).num_rows == ROWS
    table = parquet.read_table("/bulk/out", filesystem=fsspec.filesystem("memory"))
    assert sorted(table["row"].to_pylist()) == list(range(ROWS))
    assert table.schema.metadata[b"guerdon.model.name"] == b"fake"
    assert run_fake(plan_of(["memory://bulk/*.jsonl"], 40), url).resumed_slices == 3


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], by_service: list[Record]) -> None:
    source = write_lines(tmp_path / "in.jsonl", [*records(5), "torn"])
    argv = ["score", str(source), "--engine=local", "--output", str(tmp_path / "out"), "--slice-rows", "4"]
    argv += ["--model", str(tiny("bert"))]
    assert main([*argv, "--json", "--workers", "2"]) == 1, "a row became an error"
    summary = json.loads(capsys.readouterr().out)
    told = {name: summary[name] for name in ("engine", "num_rows", "num_errors", "num_slices", "num_files")}
    assert told == {"engine": "local", "num_rows": 6, "num_errors": 1, "num_slices": 2, "num_files": 1}
    check_equal(read_output(tmp_path / "out")[:5], by_service[:5])
    assert main(argv) == 1
    assert "6 rows of 1 file(s) scored (6 of them by an earlier run); 1 of them became errors" in (
        capsys.readouterr().out
    )
    argv[-1] = str(tiny("bert", seed=1))
    assert main(argv) == 2
    assert "differs in model.version" in capsys.readouterr().err
    write_lines(source, records(6))
    argv[-1] = str(tiny("bert"))
    assert main(argv) == 2
    assert "has changed" in capsys.readouterr().err
