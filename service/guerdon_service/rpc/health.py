"""``grpc.health.v1.Health`` that asks the domain layer each time, so that it is never stale."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health_pb2

from guerdon_service.core.scorer import Scorer
from guerdon_service.rpc.context import Context

POLL_S = 0.2
"""How often a watcher's answer is looked at again, in seconds."""


@dataclass(frozen=True, slots=True)
class Health:
    """Serving status of the whole server (the empty name) and of each service of `names`."""

    service: Scorer
    names: frozenset[str]

    async def Check(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> health_pb2.HealthCheckResponse:
        """The status now; NOT_FOUND for an unknown name."""
        if request.service not in self.names:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service!r} here")
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Context
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now and whenever it changes; SERVICE_UNKNOWN for an unknown name."""
        last = None
        while True:
            status = self._status(request.service)
            if status != last:
                yield health_pb2.HealthCheckResponse(status=status)
            last = status
            await asyncio.sleep(POLL_S)

    async def List(
        self, request: health_pb2.HealthListRequest, context: Context
    ) -> health_pb2.HealthListResponse:
        """The status of every name."""
        statuses = {name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in self.names}
        return health_pb2.HealthListResponse(statuses=statuses)

    def _status(self, name: str) -> "health_pb2.HealthCheckResponse.ServingStatus.ValueType":
        if name not in self.names:
            return health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        return (
            health_pb2.HealthCheckResponse.SERVING
            if self.service.is_ready()
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
