"""The composition root: settings to a service with its models, cache and metrics."""

import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from guerdon_service.app.absent import Absent
from guerdon_service.app.loader import default_spec, load_model
from guerdon_service.app.settings import Settings
from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.ports import Observer
from guerdon_service.core.scorer import Scorer
from guerdon_service.core.services import Services
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.service import ScoringService

MAX_TOKENIZE_THREADS = 8
"""Tokenizers free the GIL, but beyond this the loop that feeds them is the limit."""


@dataclass(frozen=True, slots=True)
class Built:
    """The domain layer, and how to let it go."""

    services: Services
    close: Callable[[], Awaitable[None]]


def build(settings: Settings, observer: Observer) -> Built:
    """The domain layer with an empty catalog; call inside the event loop, then `load_models`."""
    scorer = build_scorer(settings, observer)
    absent: Any = Absent()
    return Built(Services(scorer, absent, absent, absent, absent), scorer.close)


def build_scorer(settings: Settings, observer: Observer) -> ScoringService:
    """Scoring with its catalog, cache and tokenizing threads."""
    cache = open_cache(observer, redis_url=settings.redis_url, l1_bytes=settings.cache_bytes)
    threads = min(MAX_TOKENIZE_THREADS, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="guerdon-tokenize")
    load = partial(load_model, num_threads=settings.threads)
    catalog = Catalog(load, settings.limits, cache, pool, observer, settings.default_model)
    return ScoringService(catalog, settings.limits, observer)


async def load_models(scorer: Scorer, settings: Settings) -> None:
    """Load what the settings name, or the embedded default model.

    Raises:
        GuerdonError: the first model that is refused.
    """
    default = default_spec(settings.backend, settings.dtype, settings.device)
    for spec in settings.specs or (default,):
        await scorer.load_model(spec)
