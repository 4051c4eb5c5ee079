"""Several versions of one name at once: what a reference means, and what an alias's flip does."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput, NotReady, UnknownModel
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.core.registry import CHAMPION
from guerdon_service.engine.engine import Engine
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.service import ScoringService
from tests.fakes import WeightedSumBackend, running_service
from tests.registry.versions import load_versions, reward_of


async def reply(service: ScoringService, model: str | None, response: str = "because") -> tuple[str, float]:
    query = ScoreQuery((Conversation.of("why?", response),), Options(model=model))
    result = await service.score(query)
    assert result.model.name == "m" and result.model.digest == f"digest-{result.model.version}"
    return result.model.version, result.scores[0].reward


@asynccontextmanager
async def versions(*numbers: str) -> AsyncIterator[tuple[ScoringService, Catalog]]:
    async with running_service(ModelSpec("m", numbers[0]), load=load_versions) as service:
        for number in numbers[1:]:
            await service.catalog.load_version(ModelSpec("m", number), number, f"digest-{number}")
        yield service, service.catalog


async def test_a_reference_is_a_name_a_version_or_an_alias() -> None:
    async with versions("1", "2") as (service, catalog):
        catalog.point({("m", "candidate"): "2"})
        for model, version in {"m": "1", None: "1", "m@1": "1", "m@2": "2", "m@champion": "1"}.items():
            assert await reply(service, model) == (version, reward_of(version, "because"))
        assert await reply(service, "m@candidate") == ("2", reward_of("2", "because"))
        infos = [(i.name, i.version, i.aliases, i.default, i.state) for i in service.models()]
    assert infos == [("m", "1", ("champion",), True, "ready"), ("m", "2", ("candidate",), False, "ready")]


@pytest.mark.parametrize("model", ["m@3", "m@candidate", "ghost", "ghost@1", "@1", "m@1@2"])
async def test_a_reference_to_nothing_is_unknown(model: str) -> None:
    async with versions("1") as (service, _):
        with pytest.raises(UnknownModel) as refused:
            await reply(service, model)
    assert refused.value.param == "model" and model in refused.value.message


async def test_an_unknown_version_is_told_with_those_that_are_loaded() -> None:
    async with versions("1", "2", "3") as (service, catalog):
        catalog.point({("m", "candidate"): "3"})
        with pytest.raises(UnknownModel) as refused:
            await reply(service, "m@9")
        told = "model 'm@9' is not loaded; loaded versions of m are: 1 (champion), 2, 3 (candidate)"
        assert refused.value.message == told
        with pytest.raises(UnknownModel, match=r"loaded are: m$"):
            await reply(service, "ghost@1")


async def test_a_flip_moves_the_bare_name_and_back_and_nothing_is_loaded_again() -> None:
    async with versions("1", "2") as (service, catalog):
        for champion in ("2", "1", "2"):
            catalog.point({("m", CHAMPION): champion})
            assert await reply(service, "m", champion) == (champion, reward_of(champion, champion))
            assert service.is_ready()
        assert await reply(service, "m@1") == ("1", reward_of("1", "because"))


async def test_a_request_keeps_the_version_it_resolved() -> None:
    async with versions("1", "2") as (service, catalog):
        asked = asyncio.ensure_future(reply(service, "m"))
        await asyncio.sleep(0)  # it has resolved its model and waits for its tokens
        catalog.point({("m", CHAMPION): "2"})
        assert await asked == ("1", reward_of("1", "because"))


async def test_an_alias_never_points_at_what_is_not_loaded() -> None:
    async with versions("1") as (service, catalog):
        with pytest.raises(AssertionError):
            catalog.point({("m", CHAMPION): "2"})
        assert await reply(service, "m") == ("1", reward_of("1", "because"))


async def test_a_version_whose_back_end_is_at_fault_may_come_back_though_its_artifact_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with versions("1", "2") as (service, catalog):
        with monkeypatch.context() as at_fault:
            at_fault.setattr(Engine, "is_healthy", False)
            catalog.refuse(ModelSpec("m", "2"), "2", "its artifact is gone")
            assert not catalog.is_loaded("m", "2")
        assert await reply(service, "m@2") == ("2", reward_of("2", "because"))


async def test_an_artifact_that_is_another_than_registered_is_refused_and_serving_goes_on() -> None:
    async with versions("1") as (service, catalog):
        for version, digest in (("2", "another"), ("3", "digest-2")):
            with pytest.raises(InvalidInput, match="digest") as refused:
                await catalog.load_version(ModelSpec("m", "2"), version, digest)
            assert refused.value.param == "source"
            with pytest.raises(NotReady, match="digest"):
                await reply(service, f"m@{version}")
        with pytest.raises(InvalidInput, match="digest"):
            await catalog.load_version(ModelSpec("m", "1"), "1", "another")
        assert service.is_ready(), "only the champion's state counts"
        assert await reply(service, "m") == ("1", reward_of("1", "because"))
        await catalog.load_version(ModelSpec("m", "2"), "2", "digest-2")  # repaired, it can be loaded
        assert await reply(service, "m@2") == ("2", reward_of("2", "because"))


async def test_versions_are_unloaded_one_by_one_but_not_from_under_an_alias() -> None:
    async with versions("1", "2") as (service, catalog):
        with pytest.raises(InvalidInput, match="champion"):
            await service.unload_model("m@1")
        await service.unload_model("m@2")
        with pytest.raises(UnknownModel):
            await reply(service, "m@2")
        await catalog.load_version(ModelSpec("m", "2"), "2", "digest-2")
        await service.unload_model("m")
        assert service.models() == () and catalog.aliases() == {}
        await service.load_model(ModelSpec("m", "2"))
        assert await reply(service, "m") == ("2", reward_of("2", "because"))


async def test_a_version_has_one_name_in_the_metrics_until_it_is_unloaded() -> None:
    seen: dict[str, bool] = {}

    class Readiness(NullObserver):
        def model_ready(self, model: str, is_ready: Callable[[], bool]) -> None:
            seen[model] = is_ready()

        def model_unloaded(self, model: str, reference: str) -> None:
            del seen[model]

    damaged, entered, go_on = {"1"}, threading.Event(), threading.Event()

    def load(spec: ModelSpec) -> LoadedModel:
        if spec.source in damaged:
            raise InvalidInput("weights are damaged", param="source")
        entered.set()
        assert go_on.wait(30)
        return load_versions(spec)

    observer = Readiness()
    catalog = Catalog(load, Limits(), open_cache(observer), ThreadPoolExecutor(1), observer)

    async def begin(number: str) -> asyncio.Task[object]:
        entered.clear()
        loading = catalog.load_version(ModelSpec("m", number), number, f"digest-{number}")
        task: asyncio.Task[object] = asyncio.create_task(loading)
        assert number in damaged or await asyncio.to_thread(entered.wait, 30)
        return task

    with pytest.raises(InvalidInput):
        await (await begin("1"))
    assert seen == {"m": False}
    damaged.clear()
    unloaded = await begin("1")
    await catalog.unload("m@1")
    assert seen == {}, "nor is it left behind by who unloads it while it is loaded again"
    go_on.set()
    with pytest.raises(UnknownModel):
        await unloaded
    damaged.add("1")
    with pytest.raises(InvalidInput):
        await (await begin("1"))
    await (await begin("2"))
    assert seen == {"m": False, "m@2": True}
    damaged.clear()
    await (await begin("1"))
    assert seen == {"m": True, "m@2": True}
    await catalog.close()
    assert seen == {}


async def test_weights_are_freed_beside_the_event_loop_whoever_lets_them_go() -> None:
    freed_in: list[int] = []
    entered, go_on = threading.Event(), threading.Event()

    class Noting(WeightedSumBackend):
        def close(self) -> None:
            freed_in.append(threading.get_ident())

    def load(spec: ModelSpec) -> LoadedModel:
        if entered.is_set():
            assert go_on.wait(30)
        entered.set()
        return replace(load_versions(spec), backend=Noting())

    observer = NullObserver()
    catalog = Catalog(load, Limits(), open_cache(observer), ThreadPoolExecutor(1), observer)
    await catalog.load(ModelSpec("m", "1"))
    go_on.set()
    with pytest.raises(InvalidInput, match="digest"):
        await catalog.load_version(ModelSpec("m", "2"), "2", "another")
    go_on.clear()
    loading = asyncio.create_task(catalog.load_version(ModelSpec("m", "3"), "3", "digest-3"))
    while not any(info.state == "loading" for info in catalog.infos()):
        await asyncio.sleep(0)
    await catalog.unload("m@3")
    go_on.set()
    with pytest.raises(UnknownModel):
        await loading
    go_on.clear()
    await catalog.unload("m")
    beside = asyncio.create_task(catalog.load(ModelSpec("m", "1")))
    while not catalog.infos():
        await asyncio.sleep(0)
    other = asyncio.create_task(catalog.load_version(ModelSpec("m", "1"), "1", "digest-1"))
    go_on.set()
    await asyncio.gather(beside, other)  # who is there second frees its own
    await catalog.close()
    assert len(freed_in) == 5 and threading.get_ident() not in freed_in


async def test_an_ensemble_of_two_versions_of_one_name() -> None:
    async with versions("1", "2") as (service, _):
        await service.load_model(ModelSpec("both", "", members=("m@1", "m@2")))
        query = ScoreQuery((Conversation.of("why?", "because"),), Options(model="both"))
        result = await service.score(query)
        with pytest.raises(InvalidInput, match="member of both"):
            await service.unload_model("m@2")
        with pytest.raises(InvalidInput, match="ensemble"):
            await service.catalog.load_version(ModelSpec("both", "3"), "3", "digest-3")
    assert result.model.version == "1+2"
    assert set(result.scores[0].raw) == {f"m@{v}/{head}" for v in "12" for head in ("quality", "brevity")}


async def test_looking_up_an_alias_takes_less_than_50_microseconds() -> None:
    async with versions("1", "2") as (_, catalog):
        for reference in (None, "m", "m@2", "m@champion"):
            assert _fastest(lambda ref=reference: catalog.resolve(ref)) < 50e-6  # type: ignore[misc]


def _fastest(work: Callable[[], object], repeats: int = 200) -> float:
    """Least processor time of one call, in seconds: other processes do not count."""
    times = []
    for _ in range(repeats):
        began = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - began) / 1e9)
    return min(times)
