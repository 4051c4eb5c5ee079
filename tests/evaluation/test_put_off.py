"""What goes wrong for a while, or on one replica only, does not end an evaluation."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput, NotReady, UnknownModel
from guerdon_service.core.evaluation import Evaluation, EvaluationQuery, ItemScores
from guerdon_service.core.query import ScoreQuery
from guerdon_service.core.result import ScoreResult
from guerdon_service.evaluation.service import EvaluationService
from guerdon_service.evaluation.worker import MAX_WAIT_S
from guerdon_service.registry.loader import MissingArtifact
from guerdon_service.scoring.service import ScoringService
from guerdon_service.state.database import open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from tests.evaluation.data import pairs, write
from tests.evaluation.replica import PATIENCE_S, running_replica
from tests.registry.replica import Replica, replica
from tests.registry.test_registry import forced

ONE = EvaluationQuery("new", "pairs.jsonl.gz")
BOTH = EvaluationQuery("new", "pairs.jsonl.gz", baseline="old")


async def worked(on: Replica, store: SqlEvaluationStore, folder: Path, id_: str) -> Evaluation:
    """The evaluation once a worker of that replica is through with it."""
    service = EvaluationService(on.service, store, folder, on.registry.keep_loaded, lease_s=1, poll_s=0.02)
    working = asyncio.create_task(service.run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            return [shown async for shown in service.follow(id_)][-1]
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_registered_version_is_loaded_where_it_is_worked_on(url: str, folder: Path) -> None:
    """A restarted replica serves what aliases point at, and versions 2 and 1 are asked for."""
    database = open_database(url)
    store = SqlEvaluationStore(database)
    query = EvaluationQuery("m@2", "pairs.jsonl.gz", "m@1")
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        await one.registry.register("m", "3", "ops")
        service = EvaluationService(one.service, store, folder, one.registry.keep_loaded)
        started = await service.start(query)
    async with replica(database, follows=False) as two:
        assert not two.service.catalog.is_loaded("m", "2")
        done = await worked(two, store, folder, started.id)
        assert (done.state, done.error, done.done) == ("done", None, 600)
    async with replica(database, follows=False) as three:
        service = EvaluationService(three.service, store, folder, three.registry.keep_loaded)
        assert (await service.start(query)).candidate_digest == done.candidate_digest
        with pytest.raises(UnknownModel, match="m@9 is not registered; registered are: 1, 2, 3") as refused:
            await service.start(EvaluationQuery("m@9", "pairs.jsonl.gz"))
        assert refused.value.param == "model"
    database.close()


@pytest.mark.parametrize(("asked", "meant"), [("m@2", "2"), ("m@candidate", "3"), ("m", "1")])
async def test_a_version_that_no_alias_needs_is_kept_from_the_asking_to_the_job(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, asked: str, meant: str
) -> None:
    database = open_database(url)
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        await one.registry.register("m", "3", "ops")
        await one.registry.idle()
        score = ScoringService.score

        async def meanwhile(service: ScoringService, query: ScoreQuery) -> ScoreResult:
            monkeypatch.setattr(ScoringService, "score", score)
            await one.registry.register("m", "4", "ops")
            await forced(one, "4")
            await one.registry.idle()  # 3 is let go, and 2 would be
            return await score(service, query)

        monkeypatch.setattr(ScoringService, "score", meanwhile)
        store = SqlEvaluationStore(database)
        service = EvaluationService(one.service, store, folder, one.registry.keep_loaded)
        started = await service.start(EvaluationQuery(asked, "pairs.jsonl.gz"))
        assert {info.version for info in one.service.models()} == {"1", "4", meant}
    database.close()
    assert (started.candidate, started.candidate_digest) == (f"m@{meant}", f"digest-{meant}")


@pytest.mark.parametrize("ends_as", ["done", "failed"])
async def test_what_a_job_loaded_goes_when_it_has_ended(url: str, folder: Path, ends_as: str) -> None:
    database = open_database(url)
    store = SqlEvaluationStore(database)
    query = EvaluationQuery("m@2", "pairs.jsonl.gz", "m@3")
    async with replica(database) as one:
        for version in ("2", "3", "4"):
            await one.registry.register("m", version, "ops")
        asked = await EvaluationService(one.service, store, folder, one.registry.keep_loaded).start(query)
        await one.registry.idle()
        assert {info.version for info in one.service.models()} == {"1", "2", "3", "4"}, "it is open"
    if ends_as == "failed":
        store.cancel(asked.id)
        asked = replace(asked, id="another", baseline_digest="another")
        store.create(asked)
    async with replica(database) as two:
        await two.until("4", "m@candidate")
        ended = await worked(two, store, folder, asked.id)
        await two.registry.idle()
        assert {info.version for info in two.service.models()} == {"1", "4"}
    assert ended.state == ends_as
    database.close()


async def test_a_version_whose_folder_is_not_there_is_waited_for_and_no_path_is_told(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = open_database(url)
    store = SqlEvaluationStore(database)
    query = EvaluationQuery("m@2", "pairs.jsonl.gz")
    missed: list[str] = []

    async with replica(database) as one:
        for version in ("2", "3"):
            await one.registry.register("m", version, "ops")
        started = await EvaluationService(one.service, store, folder, one.registry.keep_loaded).start(query)
    async with replica(database, follows=False) as two:
        local = two.artifacts.local

        def at_last(source: str, digest: str | None = None) -> str:
            if source == "2" and len(missed) < 2:
                missed.append(source)
                raise MissingArtifact("model source '/models/v2' is no folder", param="source")
            return local(source, digest)

        monkeypatch.setattr(two.artifacts, "local", at_last)
        service = EvaluationService(two.service, store, folder, two.registry.keep_loaded)
        with pytest.raises(UnknownModel, match="artifact of m@2 is not where it was") as refused:
            await service.start(query)
        assert (refused.value.param, "/models" in refused.value.message) == ("model", False)
        done = await worked(two, store, folder, started.id)
    database.close()
    assert (done.state, done.error, len(missed)) == ("done", None, 2)


@pytest.mark.parametrize("source", ["/models/damaged", "/models/9", ""])
async def test_a_version_that_is_refused_where_it_is_loaded_fails_the_job_at_once(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    database = open_database(url)
    store = SqlEvaluationStore(database)
    loads: list[str] = []

    def damaged(registered: str, digest: str | None = None) -> str:
        loads.append(registered)
        if not source:
            raise InvalidInput("source is a URL; it was replaced, see /models", param="source")
        return source

    async with replica(database) as one:
        for version in ("2", "3"):
            await one.registry.register("m", version, "ops")
        service = EvaluationService(one.service, store, folder, one.registry.keep_loaded)
        started = await service.start(EvaluationQuery("m@2", "pairs.jsonl.gz"))
    async with replica(database, follows=False) as two:
        monkeypatch.setattr(two.artifacts, "local", damaged)
        ended = await worked(two, store, folder, started.id)
    database.close()
    assert (ended.state, loads.count("2")) == ("failed", 1)
    assert ended.error is not None and ended.error.startswith("the artifact of m@2 is refused")
    assert "/models" not in ended.error


async def test_a_model_that_is_not_there_yet_is_waited_for(store: SqlEvaluationStore, folder: Path) -> None:
    missed = asyncio.Event()

    @asynccontextmanager
    async def keep_loaded(name: str, version: str) -> AsyncIterator[None]:
        assert version == "1"
        if name == "new":
            missed.set()
        raise UnknownModel(f"{name}@1 is not registered", param="name")
        yield

    async with (
        running_replica(store, folder, works=False) as first,
        running_replica(store, folder, names=["old"], keep_loaded=keep_loaded) as second,
    ):
        started = await first.evaluator.start(BOTH)
        await missed.wait()
        await second.scoring.load_model(ModelSpec("new", "good"))
        done = await second.ended(started.id)
    assert (done.state, done.error, done.done) == ("done", None, 600)


@pytest.mark.parametrize(
    ("names", "data", "told"), [(["old"], "data", "new"), (["new"], "empty", "pairs.jsonl.gz")]
)
async def test_a_model_or_data_that_never_comes_is_given_up(
    store: SqlEvaluationStore, folder: Path, names: list[str], data: str, told: str
) -> None:
    async with running_replica(store, folder, works=False) as first:
        started = await first.evaluator.start(ONE)
    aged = replace(started, id="aged", created_at=time.time() - MAX_WAIT_S - 1)
    store.cancel(started.id)
    store.create(aged)
    async with running_replica(store, folder.with_name(data), names=names) as second:
        ended = await second.ended("aged")
    assert ended.state == "failed"
    assert told in (ended.error or "")


async def test_data_of_another_replica_is_left_to_it(store: SqlEvaluationStore, folder: Path) -> None:
    async with (
        running_replica(store, folder, works=False) as first,
        running_replica(store, folder.with_name("empty")) as second,
    ):
        started = await first.evaluator.start(ONE)
        async for shown in second.evaluator.follow(started.id):
            if shown.state != "queued":  # the one that has no data took it
                break
        first.work()
        done = await first.ended(started.id)
    assert (done.state, done.error, done.done) == ("done", None, 300)


class Faltering(SqlEvaluationStore):
    """Fails as told, once each."""

    to_raise: list[Exception]

    def add_scores(self, evaluation_id: str, worker: str, model: str, scores: Sequence[ItemScores]) -> None:
        """As the store."""
        if self.to_raise and isinstance(self.to_raise[-1], NotReady):
            raise self.to_raise.pop()
        super().add_scores(evaluation_id, worker, model, scores)

    def claim(self, worker: str, now: float, lease_s: float) -> Evaluation | None:
        """As the store."""
        if self.to_raise and not isinstance(self.to_raise[-1], NotReady):
            raise self.to_raise.pop()
        return super().claim(worker, now, lease_s)


@pytest.mark.parametrize("error", [NotReady("the database is away"), RuntimeError("a defect")])
async def test_a_store_that_falters_does_not_end_the_work(url: str, folder: Path, error: Exception) -> None:
    database = open_database(url)
    store = Faltering(database)
    store.to_raise = [error]
    async with running_replica(store, folder) as one:
        done = await one.ended((await one.evaluator.start(ONE)).id)
    database.close()
    assert store.to_raise == []
    assert (done.state, done.error, done.done) == ("done", None, 300)


async def test_data_that_changes_during_the_job_fails_it(store: SqlEvaluationStore, folder: Path) -> None:
    async with running_replica(store, folder, num_forwards=20) as one:
        started = await one.evaluator.start(ONE)
        await asyncio.to_thread(one.gate.stuck.wait)
        write(folder / "pairs.jsonl.gz", pairs(300, seed=1))  # the same ids and shapes
        one.gate.open()
        ended = await one.ended(started.id)
    assert ended.state == "failed"
    assert "has changed since" in (ended.error or "")
    assert ended.report is None
