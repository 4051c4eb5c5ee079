"""``grpc.health.v1.Health`` that asks the domain layer each time, so that it is never stale."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)

from guerdon_service.core.scorer import Scorer
from guerdon_service.rpc.context import Context

POLL_S = 0.2
"""How often a watcher's answer is looked at again, in seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """Serving status of the whole server (the empty name) and of each service of `names`."""

    service: Scorer
    names: frozenset[str]

    async def Check(self, request: HealthCheckRequest, context: Context) -> HealthCheckResponse:
        """The status now; NOT_FOUND for an unknown name."""
        if request.service not in self.names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return HealthCheckResponse(status=self._status(request.service))

    async def Watch(
        self, request: HealthCheckRequest, context: Context
    ) -> AsyncIterator[HealthCheckResponse]:
        """The status now and whenever it changes; SERVICE_UNKNOWN for an unknown name."""
        last = None
        while True:
            status = self._status(request.service)
            if status != last:
                yield HealthCheckResponse(status=status)
            last = status
            await asyncio.sleep(POLL_S)

    async def List(self, request: HealthListRequest, context: Context) -> HealthListResponse:
        """The status of every name."""
        statuses = {name: HealthCheckResponse(status=self._status(name)) for name in self.names}
        return HealthListResponse(statuses=statuses)

    def _status(self, name: str) -> "HealthCheckResponse.ServingStatus.ValueType":
        if name not in self.names:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return HealthCheckResponse.SERVING if self.service.is_ready() else HealthCheckResponse.NOT_SERVING
