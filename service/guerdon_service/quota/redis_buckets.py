"""Buckets that replicas share, in Redis. Away is an answer, not an error."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from guerdon_service.cache.breaker import Breaker
from guerdon_service.cache.in_time import in_time
from guerdon_service.cache.redis_client import redis_client
from guerdon_service.core.rate import ROUNDING_S, Bucket, Taken

KEY_PREFIX = "guerdon:limit:1:"
"""Before the tenant; the number is the layout's version. A hash: a bucket's name to when it is full, in
milliseconds of Redis's own clock, which so is the one clock of all replicas."""
TIMEOUT_S = 0.05
MAX_CONNECTIONS = 16
CLOSE_TIMEOUT_S = 1.0

SCRIPT = """
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local force = ARGV[1] == '1'
local rounding = tonumber(ARGV[2])
local refused, worst, backlogs, after, latest = 0, 0, {}, {}, 0
for i = 1, (#ARGV - 2) / 4 do
  local name, capacity = ARGV[4 * i - 1], tonumber(ARGV[4 * i])
  local period, cost = tonumber(ARGV[4 * i + 1]), tonumber(ARGV[4 * i + 2])
  local backlog = math.max(0, (tonumber(redis.call('HGET', KEYS[1], name) or '') or 0) - now)
  local wait = backlog + math.min(cost, capacity) * period / capacity - period
  if wait > math.max(worst, rounding) then refused, worst = i, wait end
  backlogs[i] = backlog
  after[i] = math.max(0, backlog + cost * period / capacity)
  latest = math.max(latest, after[i])
end
if force or refused == 0 then
  refused, worst, backlogs = 0, 0, after
  for i = 1, #after do
    redis.call('HSET', KEYS[1], ARGV[4 * i - 1], string.format('%.3f', now + after[i]))
  end
  redis.call('PEXPIRE', KEYS[1], math.ceil(latest) + 1)
end
local reply = {tostring(refused), tostring(math.ceil(worst))}
for i = 1, #backlogs do reply[i + 2] = string.format('%.3f', backlogs[i]) end
return reply
"""
"""`core.rate.take`, atomic."""

_LOG = logging.getLogger(__name__)


class RedisBuckets:
    """Backlogs by tenant, shared. Never raises once made, never waits long, never retries.

    Raises:
        InvalidInput: `url` is malformed.
    """

    def __init__(self, url: str, breaker: Breaker, timeout_s: float = TIMEOUT_S) -> None:
        self._client = redis_client(url, timeout_s, MAX_CONNECTIONS)
        self._script = self._client.register_script(SCRIPT)
        self._breaker = breaker
        self._timeout_s = timeout_s

    @property
    def is_away(self) -> bool:
        """Whether Redis keeps failing, so that each replica counts for itself."""
        return self._breaker.is_open

    async def take(
        self, tenant: str, buckets: Sequence[Bucket], costs: Sequence[float], *, force: bool
    ) -> Taken | None:
        """See `core.rate.take`; None while Redis is away."""
        if not self._breaker.allow():
            return None
        args: list[str | float] = ["1" if force else "0", 1000 * ROUNDING_S]
        for bucket, cost in zip(buckets, costs, strict=True):
            args += [bucket.name, bucket.capacity, bucket.period_s * 1000, cost]
        try:
            reply = await in_time(self._script(keys=[KEY_PREFIX + tenant], args=args), self._timeout_s)
            refused, wait_ms, *backlogs_ms = (float(part) for part in reply)
        except Exception as error:  # whatever it is, the requests must flow on
            self._failed(error)
            return None
        self._breaker.succeeded()
        backlogs_s = tuple(ms / 1000 for ms in backlogs_ms)
        return Taken(buckets[int(refused) - 1] if refused else None, int(wait_ms), backlogs_s)

    async def close(self) -> None:
        """Disconnect."""
        with suppress(Exception):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._client.aclose()

    def _failed(self, error: Exception) -> None:
        was_open = self._breaker.is_open
        self._breaker.failed()
        if self._breaker.is_open and not was_open:
            _LOG.warning(
                "redis keeps failing (%s: %s); each replica counts its keys' use alone",
                type(error).__name__,
                error,
            )
