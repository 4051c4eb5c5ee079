"""The service under load: real domain layer and transports, two versions that take turns as champion."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import numpy as np
from numpy.typing import NDArray

from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.ports import Backend, ForwardStats
from guerdon_service.core.registry import CHAMPION
from guerdon_service.scoring.catalog import Catalog, LoadModel
from tests.contract.harness import Served, Watching, served
from tests.fakes import WeightedSumBackend
from tests.faults.load import RIGHT, WRONG, Load
from tests.registry.versions import load_versions, reward_of

MODEL = "m"
DEADLINE_MS = 30_000
ANSWERS_PER_PROMOTION = 20

Rows = NDArray[np.float32]


@dataclass
class Mischief:
    """What a back end does besides scoring: `before` a batch, and to its rows `after` it."""

    before: Callable[[Sequence[Encoded]], None] = lambda batch: None
    after: Callable[[Rows], Rows] = lambda rows: rows

    def stop(self) -> None:
        self.before, self.after = Mischief.before, Mischief.after


@dataclass
class MischievousBackend:
    """Right scores, but for the mischief."""

    inner: WeightedSumBackend
    mischief: Mischief
    name: str = "fake"
    dtype: str = "float32"
    num_heads: int = 2
    shares_prefix: bool = False

    def forward(self, batch: Sequence[Encoded]) -> tuple[Rows, ForwardStats]:
        self.mischief.before(batch)
        rows, stats = self.inner.forward(batch)
        return self.mischief.after(rows), stats

    def close(self) -> None:
        self.inner.close()


@dataclass(frozen=True)
class Scene:
    """A service in trouble."""

    served: Served
    observer: Watching
    load: Load
    mischief: Mischief = field(default_factory=Mischief)

    @property
    def catalog(self) -> Catalog:
        return self.served.service.catalog


@asynccontextmanager
async def scene(
    *,
    redis_url: str | None = None,
    deadline_ms: int = DEADLINE_MS,
    load: LoadModel = load_versions,
    backend_of: Callable[[str], Backend] | None = None,
) -> AsyncIterator[Scene]:
    """Within, clients ask over REST while the champion changes.

    `load` reads sources that are no numbers; `backend_of` a version is one without mischief.
    """
    mischief, observer = Mischief(), Watching()

    def load_any(spec: ModelSpec) -> LoadedModel:
        if not spec.source.isdecimal():
            return load(spec)
        model = load_versions(spec)
        assert isinstance(model.backend, WeightedSumBackend)
        mischievous = MischievousBackend(model.backend, mischief)
        backend = backend_of(spec.source) if backend_of else mischievous
        return LoadedModel(spec, model.manifest, model.encoder, backend)

    cache = open_cache(observer, redis_url=redis_url, l1_bytes=0)  # each look-up asks Redis
    async with served(ModelSpec(MODEL, "1"), load=load_any, observer=observer, cache=cache) as running:
        await running.service.catalog.load_version(ModelSpec(MODEL, "2"), "2", "digest-2")
        asking = Load(lambda response: ask(running.rest, response, deadline_ms))
        async with asking.running():
            promoting = asyncio.create_task(_promote(running.service.catalog, asking))
            try:
                yield Scene(running, observer, asking, mischief)
            finally:
                mischief.stop()
                promoting.cancel()


async def ask(rest: httpx.AsyncClient, response: str, deadline_ms: int) -> str:
    """One request over REST: mostly of one item, and now and then bulk work of twenty."""
    responses = [f"{response} {n}" for n in range(20)] if response.endswith("0") else [response]
    items = [{"prompt": "why?", "response": text} for text in responses]
    lane = "bulk" if len(items) > 1 else "interactive"
    body = {"items": items, "lane": lane, "deadline_ms": deadline_ms}
    try:
        reply = await rest.post("/v1/score", json=body, timeout=None)
    except httpx.TransportError:
        return "connection_failed"
    told = reply.json()
    if reply.status_code != 200:
        return str(told["error"]["code"])
    version = told["model"]["version"]
    rewards = [score["reward"] for score in told["scores"]]
    is_right = rewards == [reward_of(version, text) for text in responses]
    return RIGHT if is_right and told["model"]["digest"] == f"digest-{version}" else WRONG


async def _promote(catalog: Catalog, load: Load) -> None:
    while True:
        for version in ("2", "1"):
            await load.more(ANSWERS_PER_PROMOTION)
            if catalog.is_loaded(MODEL, version):
                catalog.point({(MODEL, CHAMPION): version})
