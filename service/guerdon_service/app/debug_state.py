"""`GET /debug/state`: queues, breakers and loaded versions of this replica."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from guerdon_service.cache.tiered import TieredCache
from guerdon_service.core.artifact import ModelInfo
from guerdon_service.core.errors import GuerdonError
from guerdon_service.scoring.catalog import Catalog


@dataclass(frozen=True, slots=True)
class DebugState:
    """`core.inspection.Inspector` of the domain layer."""

    catalog: Catalog
    cache: TieredCache
    started: float = field(default_factory=time.monotonic)

    def state(self) -> Mapping[str, Any]:
        """Models with their queues, the cache with its breaker, the process."""
        return {
            "ready": not self.catalog.unready_reason(),
            "unready_reason": self.catalog.unready_reason(),
            "models": [self._model(info) for info in self.catalog.infos()],
            "cache": self.cache.state(),
            "process": {"uptime_s": time.monotonic() - self.started, "tasks": len(asyncio.all_tasks())},
        }

    def _model(self, info: ModelInfo) -> Mapping[str, Any]:
        return {
            "name": info.name,
            "version": info.version,
            "digest": info.digest,
            "backend": info.backend,
            "dtype": info.dtype,
            "state": info.state,
            "aliases": list(info.aliases),
            "default": info.default,
            "queue": self._queue(info),
        }

    def _queue(self, info: ModelInfo) -> Mapping[str, Any] | None:
        """None for what has no queue of its own: an ensemble, or what is loading or was refused."""
        reference = f"{info.name}@{info.version}" if info.version else info.name
        try:
            scorer = self.catalog.resolve(reference).scorer
        except GuerdonError:
            return None
        return scorer.engine.state() if scorer else None
