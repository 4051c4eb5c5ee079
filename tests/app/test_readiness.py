"""A service is ready once all models that its settings and the registry name are, and not before."""

import asyncio
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

import guerdon_service.app.build as composition
from guerdon_service.app.build import build, start
from guerdon_service.app.listen import Listening
from guerdon_service.app.loader import load_model
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.server import Stop, run
from guerdon_service.app.settings import ModelSettings, Settings
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.auth import Keyring
from guerdon_service.core.errors import InvalidInput, UnknownModel
from tests.app.test_server import answered
from tests.ports import free_port
from tests.registry.test_model_store import artifact

ITEMS = [{"prompt": "p", "response": "r"}]


@dataclass
class HeldLoader:
    """The real loader, which waits at the model `name` until it is let go."""

    name: str
    is_there: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self, spec: ModelSpec, num_threads: int | None = None) -> LoadedModel:
        if spec.name == self.name:
            self.is_there.set()
            assert self.go.wait(60)
        return load_model(spec, num_threads)


@dataclass(frozen=True)
class Starting:
    """A service that `run` starts, and callers of it."""

    rest: httpx.AsyncClient
    health: Any
    announced: asyncio.Future[Listening]
    ended: asyncio.Task[None]
    stop: Stop

    async def readiness(self) -> tuple[int, str]:
        """Status of REST and its reason, after a look that gRPC says the same."""
        reply = await self.rest.get("/health/ready")
        told = await self.health.Check(HealthCheckRequest())
        assert (told.status == HealthCheckResponse.SERVING) == (reply.status_code == 200)
        return reply.status_code, reply.json().get("error", {}).get("message", "")

    async def score(self, model: str | None) -> httpx.Response:
        asked = {"items": ITEMS} | ({"model": model} if model else {})
        return await self.rest.post("/v1/score", json=asked, timeout=60)


@asynccontextmanager
async def starting(settings: Settings) -> AsyncIterator[Starting]:
    settings = settings.model_copy(update={"port": free_port(), "grpc_port": free_port(), "threads": 1})
    observer, stop, announced = PrometheusObserver(), Stop(), asyncio.Future[Listening]()
    domain = await build(settings, observer)
    ended = asyncio.create_task(
        run(
            domain.services,
            settings,
            auth=Keyring(),
            observer=observer,
            load=partial(start, domain, settings),
            announce=announced.set_result,
            stop=stop,
        )
    )
    url = f"127.0.0.1:{settings.port}"
    async with (
        httpx.AsyncClient(base_url=f"http://{url}", trust_env=False) as rest,
        grpc.aio.insecure_channel(f"127.0.0.1:{settings.grpc_port}") as channel,
    ):
        try:
            await answered(rest, "/health/live")
            yield Starting(rest, HealthStub(channel), announced, ended, stop)
        finally:
            stop.ask()
            await asyncio.gather(ended, return_exceptions=True)
            await domain.close()


def three(folder: Path, **changes: object) -> Settings:
    """Settings with models ``a``, ``b`` and ``c``."""
    sources = {name: str(artifact(folder / name, "1", seed)) for seed, name in enumerate("abc")}
    models = {name: ModelSettings(source=source) for name, source in sources.items()}
    return Settings(models=models, **changes)  # type: ignore[arg-type]


def held(name: str, monkeypatch: pytest.MonkeyPatch) -> HeldLoader:
    loader = HeldLoader(name)
    monkeypatch.setattr(composition, "load_model", loader)
    return loader


async def test_it_is_not_ready_before_the_last_model_of_its_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = held("b", monkeypatch)
    async with starting(three(tmp_path)) as it:
        await asyncio.to_thread(loader.is_there.wait, 60)
        assert await it.readiness() == (503, "model b is not loaded yet; model c is not loaded yet")
        for model in ("b", "c", "c@1"):
            refused = await it.score(model)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
            assert refused.headers["retry-after"] == "1"
        assert [(await it.score(model)).status_code for model in ("a", None, "nobody")] == [200, 200, 404]
        loader.go.set()
        await asyncio.wait_for(asyncio.shield(it.announced), 60)
        assert await it.readiness() == (200, "")
        assert [(await it.score(model)).status_code for model in ("b", "c", "c@9")] == [200, 200, 404]


async def test_the_default_model_is_the_first_of_the_settings_from_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = held("a", monkeypatch)
    async with starting(three(tmp_path)) as it:
        await asyncio.to_thread(loader.is_there.wait, 60)
        assert (await it.score(None)).status_code == 503
        loader.go.set()
        await asyncio.wait_for(asyncio.shield(it.announced), 60)
        assert (await it.score(None)).json()["model"]["name"] == "a"


async def test_a_model_that_is_refused_ends_a_service_that_never_was_ready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = three(tmp_path)
    (tmp_path / "c" / "model.safetensors").write_bytes(b"cut")
    loader = held("b", monkeypatch)
    async with starting(settings) as it:
        watch = it.health.Watch(HealthCheckRequest())
        await asyncio.to_thread(loader.is_there.wait, 60)
        assert (await watch.read()).status == HealthCheckResponse.NOT_SERVING
        loader.go.set()
        with pytest.raises(InvalidInput):
            await it.ended
        assert not it.announced.done()


async def test_a_drain_before_it_was_ready_stays_unready(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loader = held("b", monkeypatch)
    async with starting(three(tmp_path)) as it:
        await asyncio.to_thread(loader.is_there.wait, 60)
        it.stop.ask()
        loader.go.set()
        await asyncio.wait_for(it.ended, 60)
        assert not it.announced.done()


async def test_an_ensemble_of_what_nobody_has_ends_the_service_and_says_so(tmp_path: Path) -> None:
    settings = three(tmp_path)
    models = {**settings.models, "both": ModelSettings(members=("nobody", "b"))}
    async with starting(settings.model_copy(update={"models": models})) as it:
        with pytest.raises(UnknownModel, match="'nobody' is not loaded; loaded are: a, b, c"):
            await it.ended
        assert not it.announced.done()


@pytest.mark.parametrize("is_gone", [False, True])
async def test_a_restarted_replica_waits_for_what_was_registered_unless_it_cannot_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_gone: bool
) -> None:
    settings = three(tmp_path, state_url=f"sqlite:///{tmp_path / 'state.db'}")
    domain = await build(settings, PrometheusObserver())
    extra = artifact(tmp_path / "extra", "7", seed=5)
    await domain.registry.register("extra", str(extra), "ops")
    await domain.close()
    if is_gone:
        shutil.rmtree(extra)
    models = {**settings.models, "both": ModelSettings(members=("a", "b" if is_gone else "extra"))}
    settings = settings.model_copy(update={"models": models})
    loader = held("c" if is_gone else "extra", monkeypatch)
    async with starting(settings) as it:
        await asyncio.to_thread(loader.is_there.wait, 60)
        status, reason = await it.readiness()
        assert status == 503 and "model extra is not loaded yet" in reason
        for model in ("extra", "both"):
            assert (await it.score(model)).status_code == 503
        assert not it.announced.done()
        loader.go.set()
        await asyncio.wait_for(asyncio.shield(it.announced), 60)
        assert await it.readiness() == (200, ""), "what cannot be had takes nobody else's readiness away"
        assert (await it.score("extra")).status_code == (503 if is_gone else 200)
        assert (await it.score("both")).status_code == 200
