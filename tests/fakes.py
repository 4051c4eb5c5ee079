"""Fakes at our own Protocols: an encoder over code points, a back end over sums, a catalog of both."""

from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
from numpy.typing import NDArray

from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.calibration import Calibration
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InputTooLong, InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.core.manifest import Head, Manifest, Profile
from guerdon_service.core.ports import Cache, ForwardStats, NullObserver, Observer
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.service import ScoringService
from tests.weighted_sums import weighted_sums

MAX_TOKENS = 64


class CodePointEncoder:
    """One token per character; the prompt is cut on the left."""

    def encode(self, conversation: Conversation, param: str) -> Encoded:
        prompt = "\n".join(m.content for m in conversation.prompt)
        room = MAX_TOKENS - len(conversation.response)
        if room < 1:
            raise InputTooLong(f"{param} is too long; shorten it", param=param)
        kept = prompt[-room:]
        ids = np.array([ord(c) for c in kept + conversation.response], dtype=np.int32)
        return Encoded(ids, len(kept), truncated=len(kept) < len(prompt))


class WeightedSumBackend:
    """Two heads: a position-weighted sum of the ids, and the response's length."""

    name = "fake"
    dtype = "float32"
    num_heads = 2
    shares_prefix = False

    def __init__(self, scale: float = 1e-4, before: Callable[[], object] | None = None) -> None:
        self.num_forwards = 0
        self.closed = False
        self._scale = scale
        self._before = before

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        self.num_forwards += 1
        if self._before is not None:
            self._before()
        return weighted_sums(batch, self._scale)

    def close(self) -> None:
        self.closed = True


def manifest(name: str = "fake", **changes: object) -> Manifest:
    """Heads ``quality`` and ``brevity``; profiles ``quality`` (default) and ``both``."""
    fields: dict[str, object] = {
        "name": name,
        "version": "1",
        "heads": (Head("quality", "quality"), Head("brevity", "brevity")),
        "profiles": {
            "quality": Profile({"quality": 1.0}),
            "both": Profile({"quality": 0.5, "brevity": -0.1}),
        },
        "max_tokens": MAX_TOKENS,
        "digest": f"digest-of-{name}",
        "calibration": Calibration(slope=0.5, slope_se=0.05, num_pairs=100),
    }
    return Manifest(**(fields | changes))  # type: ignore[arg-type]


def load_fake(spec: ModelSpec) -> LoadedModel:
    """Stands in for reading an artifact; the source ``bad`` is refused."""
    if spec.source == "bad":
        raise InvalidInput("source is bad; give a good one", param="source")
    scale = 2e-4 if spec.source == "double" else 1e-4
    return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), WeightedSumBackend(scale))


@asynccontextmanager
async def running_service(
    *specs: ModelSpec,
    load: Callable[[ModelSpec], LoadedModel] = load_fake,
    limits: Limits | None = None,
    observer: Observer | None = None,
    cache: Cache | None = None,
) -> AsyncIterator[ScoringService]:
    """A service over fakes, closed afterwards; by default with one model named ``fake``."""
    limits, observer = limits or Limits(), observer or NullObserver()
    catalog = Catalog(load, limits, cache or open_cache(observer), ThreadPoolExecutor(2), observer)
    service = ScoringService(catalog, limits, observer)
    try:
        for spec in specs or (ModelSpec("fake", "good"),):
            await service.load_model(spec)
        yield service
    finally:
        await service.close()
