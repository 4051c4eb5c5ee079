"""The composed service with real models: an evaluation has the same numbers in process, over REST, over gRPC
and by the command, its scores are those of `/v1/score`, and what is decided on it is kept."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import torch

import guerdon
from guerdon import AsyncClient
from guerdon.cli.main import main
from guerdon_service.app.build import Domain, build, start
from guerdon_service.app.evaluate import evaluate_command
from guerdon_service.app.export_feedback import export_feedback_command
from guerdon_service.app.listen import Listening, listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import ModelSettings, Settings
from guerdon_service.core.auth import Keyring
from guerdon_service.core.evaluation import EvaluationQuery
from guerdon_service.evaluation.plain import report_plain
from tests.evaluation.data import pairs, write
from tests.tiny import build_tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")

DATA = "pairs.jsonl"
CHANGED = 5


@dataclass(frozen=True)
class Whole:
    """A composed service on its ports, with its folders."""

    domain: Domain
    at: Listening
    folder: Path

    @property
    def urls(self) -> tuple[str, str]:
        return f"http://127.0.0.1:{self.at.port}", f"grpc://127.0.0.1:{self.at.grpc_port}"


@asynccontextmanager
async def composed(folder: Path) -> AsyncIterator[Whole]:
    observer = PrometheusObserver()
    settings = Settings(
        port=0,
        grpc_port=0,
        threads=1,
        models={name: ModelSettings(source=str(folder / "models" / name)) for name in ("first", "second")},
        state_url=f"sqlite:///{folder / 'state.db'}",
        data_folder=folder / "data",
        model_store=folder / "models",
    )
    domain = await build(settings, observer)
    try:
        await start(domain, settings)
        async with listening(domain.services, settings, auth=Keyring(), observer=observer) as at:
            yield Whole(domain, at, folder)
    finally:
        await domain.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("composed")
    (root / "data").mkdir()
    write(root / "data" / DATA, pairs(24))
    for seed, name in enumerate(("first", "second")):
        build_tiny("bert", root / "models" / name, seed=seed)
    return root


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(folder: Path) -> AsyncIterator[Whole]:
    async with composed(folder) as it:
        yield it


async def in_process(whole: Whole) -> Any:
    evaluations = whole.domain.evaluations
    started = await evaluations.start(EvaluationQuery("first", DATA, "second", robustness=CHANGED))
    async for state in evaluations.follow(started.id):
        last = state
    return last.report


async def over(url: str) -> Any:
    async with AsyncClient(url) as client:
        return (await client.evaluate("first", DATA, baseline="second", robustness=CHANGED)).report


async def test_every_way_gives_the_same_report(
    whole: Whole, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "kept.json"
    models = [str(whole.folder / "models" / name) for name in ("first", "second")]
    argv = ["--model", models[0], "--against", models[1], "--data", str(whole.folder / "data" / DATA)]
    argv += ["--threads", "1", "--json", str(out), "--robustness", str(CHANGED)]
    assert await asyncio.to_thread(evaluate_command, argv) == 0
    kept = json.loads(out.read_text())
    reports = [plain(await in_process(whole)), *[plain(await over(url)) for url in whole.urls]]
    assert reports == [plain(kept["report"])] * 3
    for side in ("candidate", "baseline"):
        assert {row["num_pairs"] for row in reports[0][side]["robustness"]} == {CHANGED}
    assert reports[0]["comparison"]["verdict"] in ("better", "not worse", "worse", "inconclusive")
    await scores_are_those_of_score(whole, kept["scores"])
    argv = ["evaluate", "--model", "first", "--against", "second", "--data", DATA]
    capsys.readouterr()
    for url in whole.urls:
        asked = [*argv, "--robustness", str(CHANGED), "--url", url]
        assert await asyncio.to_thread(main, asked) == 0
        assert capsys.readouterr().out == report_plain(kept["report"])


async def scores_are_those_of_score(whole: Whole, kept: Any) -> None:
    records = pairs(24)
    async with AsyncClient(whole.urls[0]) as client:
        for side, model in (("candidate", "first"), ("baseline", "second")):
            items = [(r["prompt"], r[key]) for r in records for key in ("chosen", "rejected")]
            rewards = [s.reward for s in (await client.score(items, model=model)).scores]
            expected = {r["id"]: rewards[2 * i : 2 * i + 2] for i, r in enumerate(records)}
            assert kept[side] == expected


def plain(report: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(report))


@pytest.mark.parametrize("wire", [0, 1])
async def test_unknown_data_and_models_are_refused_alike(whole: Whole, wire: int) -> None:
    async with AsyncClient(whole.urls[wire]) as client:
        for dataset in ("absent.jsonl", "../state.db", ".hidden"):
            with pytest.raises(guerdon.InvalidInput) as refused:
                await client.evaluate("first", dataset)
            assert refused.value.param == "dataset"
        with pytest.raises(guerdon.UnknownModel):
            await client.evaluate("nobody", DATA)
        with pytest.raises(guerdon.InvalidInput) as outside:
            await client.register("third", "/")
        assert outside.value.param == "source"


async def test_what_is_decided_outlives_the_service(folder: Path) -> None:
    body = ("Name a prime.", "7.", "8.")
    async with composed(folder) as it, AsyncClient(it.urls[0]) as client:
        done = await client.evaluate("first", DATA)
        history = await client.history("first")
        assert [(c.action, c.by) for c in history.changes] == [("register", "settings")]
        assert [m.aliases for m in await client.models()] == [("champion",)] * 2
        kept = await client.feedback(*body, annotator="ann")
    async with composed(folder) as it, AsyncClient(it.urls[1]) as client:
        assert await client.evaluation(done.id) == done
        assert await client.history("first") == history
    out = folder / "feedback.jsonl"
    assert (
        export_feedback_command(["--state-url", f"sqlite:///{folder / 'state.db'}", "--output", str(out)])
        == 0
    )
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == [kept]


async def test_best_of_n_names_its_policies(whole: Whole) -> None:
    assert whole.domain.best_of_n.policies() == ("smollm2",)
    async with AsyncClient(whole.urls[0]) as client:
        with pytest.raises(guerdon.UnknownModel) as refused:
            await client.best_of_n("nobody", "p", 2)
    assert refused.value.param == "policy"
