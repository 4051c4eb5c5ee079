"""Holds every API key to its limits."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from guerdon_service.cache.breaker import Breaker
from guerdon_service.core.errors import GuerdonError, RateLimited
from guerdon_service.core.rate import Bucket, KeyLimits, Taken
from guerdon_service.quota.local_buckets import LocalBuckets
from guerdon_service.quota.redis_buckets import RedisBuckets


@dataclass(slots=True)
class Charge:
    """What a request is charged for: an estimate, until its maker writes down what it took."""

    tokens: float


class Limiter:
    """Charges requests and tokens before the work, and settles the difference after it. For one event loop.

    Args:
        limits: by tenant; one that is not there has none.
        shared: counts for all replicas together; None, or while it is away, this process counts alone.
    """

    def __init__(
        self,
        limits: Mapping[str, KeyLimits],
        shared: RedisBuckets | None = None,
        local: LocalBuckets | None = None,
    ) -> None:
        self._buckets = {tenant: found.buckets for tenant, found in limits.items() if found.buckets}
        self._shared = shared
        self._local = local or LocalBuckets()
        self._settling: set[asyncio.Task[Any]] = set()

    @property
    def is_alone(self) -> bool:
        """Whether a Redis is configured and away."""
        return self._shared is not None and self._shared.is_away

    def charged(
        self, tenant: str, tokens: float = 0.0, requests: float = 1.0
    ) -> AbstractAsyncContextManager[Charge]:
        """Charge `requests` and `tokens`; the body is its work, and may correct `Charge.tokens`.

        Work that is refused or fails is charged as a request and no token; work whose caller left, what was
        estimated, or leaving would be a way not to pay.

        Raises:
            RateLimited: one of the tenant's limits is spent; nothing was charged.
        """
        buckets = self._buckets.get(tenant)
        if buckets is None:
            return nullcontext(Charge(tokens))
        return self._charged(tenant, buckets, tokens, requests)

    @asynccontextmanager
    async def _charged(
        self, tenant: str, buckets: tuple[Bucket, ...], tokens: float, requests: float
    ) -> AsyncIterator[Charge]:
        charge = Charge(tokens)
        taken = await self._take(tenant, buckets, requests, tokens)
        if taken.refused is not None:
            raise _refusal(tenant, taken)
        try:
            yield charge
        except GuerdonError:
            charge.tokens = 0.0
            raise
        finally:
            if (
                charge.tokens != tokens
            ):  # in the background: neither a reply nor a cancelled caller waits for it
                work = self._take(tenant, buckets, 0.0, charge.tokens - tokens, force=True)
                task = asyncio.create_task(work)
                self._settling.add(task)
                task.add_done_callback(self._settling.discard)

    async def settled(self) -> None:
        """Return once everything that ended is settled."""
        await asyncio.gather(*self._settling)

    async def close(self) -> None:
        """Settle what is left, then disconnect."""
        await self.settled()
        if self._shared is not None:
            await self._shared.close()

    async def _take(
        self, tenant: str, buckets: tuple[Bucket, ...], requests: float, tokens: float, force: bool = False
    ) -> Taken:
        costs = [requests if bucket.unit == "requests" else tokens for bucket in buckets]
        if self._shared is not None:
            taken = await self._shared.take(tenant, buckets, costs, force=force)
            if taken is not None:
                self._local.remember(tenant, taken.backlogs_s)
                return taken
        return self._local.take(tenant, buckets, costs, force=force)


def open_limiter(limits: Mapping[str, KeyLimits], redis_url: str | None) -> Limiter:
    """The service's limiter; without a Redis, or without limits, it is this process's alone.

    Raises:
        InvalidInput: `redis_url` is malformed. A Redis that does not answer is no error.
    """
    needed = redis_url is not None and any(found.buckets for found in limits.values())
    return Limiter(limits, RedisBuckets(redis_url, Breaker()) if needed and redis_url else None)


def _refusal(tenant: str, taken: Taken) -> RateLimited:
    assert taken.refused is not None
    limit = f"{taken.refused.name} of {taken.refused.capacity:g}"
    return RateLimited(
        f"API key {tenant!r} has used its {limit}; retry after {taken.wait_ms} ms",
        param="authorization",
        retry_after_ms=taken.wait_ms,
    )
