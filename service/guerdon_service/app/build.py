"""The composition root: settings to a service with its models, cache and metrics."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from guerdon_service.app.loader import default_spec, load_model
from guerdon_service.app.settings import Settings
from guerdon_service.cache.tiered import open_cache
from guerdon_service.core.ports import Observer
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.service import ScoringService

MAX_TOKENIZE_THREADS = 8
"""Tokenizers free the GIL, but beyond this the loop that feeds them is the limit."""


def build_service(settings: Settings, observer: Observer) -> ScoringService:
    """A service with an empty catalog; call inside the event loop, then `load_models`."""
    cache = open_cache(observer, redis_url=settings.redis_url, l1_bytes=settings.cache_bytes)
    threads = min(MAX_TOKENIZE_THREADS, os.cpu_count() or 1)
    pool = ThreadPoolExecutor(threads, thread_name_prefix="guerdon-tokenize")
    load = partial(load_model, num_threads=settings.threads)
    catalog = Catalog(load, settings.limits, cache, pool, observer, settings.default_model)
    return ScoringService(catalog, settings.limits, observer)


async def load_models(service: ScoringService, settings: Settings) -> None:
    """Load what the settings name, or the embedded default model.

    Raises:
        GuerdonError: the first model that is refused.
    """
    default = default_spec(settings.backend, settings.dtype, settings.device)
    for spec in settings.specs or (default,):
        await service.load_model(spec)
