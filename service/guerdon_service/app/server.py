"""The service's life: listen, become ready, drain, stop."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from guerdon_service.app.inflight import InFlight
from guerdon_service.app.listen import Listening, listening
from guerdon_service.app.settings import Settings
from guerdon_service.app.tracked import tracked
from guerdon_service.core.auth import Keyring
from guerdon_service.core.reading import Reading
from guerdon_service.core.scorer import TransportObserver
from guerdon_service.core.services import Services
from guerdon_service.quota.limiter import Limiter

SIGNALS = (signal.SIGTERM, signal.SIGINT)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stop:
    """What was asked of a running service: to stop, and then to stop at once."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self) -> None:
        """Ask once to drain and stop; ask again to stop at once."""
        (self.at_once if self.asked.is_set() else self.asked).set()


async def run(
    services: Services,
    settings: Settings,
    *,
    auth: Keyring,
    observer: TransportObserver,
    load: Callable[[], Coroutine[Any, Any, None]],
    announce: Callable[[Listening], None],
    stop: Stop,
    limiter: Limiter | None = None,
    reading: Reading | None = None,
) -> None:
    """Serve until `stop` is asked for, then drain.

    Readiness goes off first and new requests are refused while those under way are answered, for at most
    `settings.drain_timeout_s` (what is left is told `NotReady`); then the ports close. The services
    themselves are left open.

    Args:
        load: loads the models, while liveness already answers and readiness says what is missing.
        announce: called once, when they are loaded.
        limiter: holds API keys to their limits; None holds none.
        reading: told how late the loop is; None reads all that comes.

    Raises:
        GuerdonError: a port cannot be had, or `load` failed.
    """
    calls = InFlight()
    faces = tracked(services, calls, limiter or Limiter({}))
    async with listening(faces, settings, auth=auth, observer=observer, reading=reading) as state:
        await _start(load(), state, announce, stop)
        _LOG.info("draining")
        calls.begin_drain()
        state.leave()
        if not await _drained(calls, stop, settings.drain_timeout_s):
            _LOG.warning("stopping with requests under way")
            calls.abandon()


@asynccontextmanager
async def signals_ask(stop: Stop) -> AsyncIterator[None]:
    """Within, SIGTERM and SIGINT ask to stop."""
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, stop.ask)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)


async def _drained(calls: InFlight, stop: Stop, timeout_s: float) -> bool:
    """Whether every call ended before the timeout and before the second request to stop."""
    waits = [asyncio.create_task(work) for work in (calls.idle(), stop.at_once.wait())]
    done, pending = await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    return waits[0] in done


async def _start(
    load: Coroutine[Any, Any, None], state: Listening, announce: Callable[[Listening], None], stop: Stop
) -> None:
    """Load, announce, and return when a stop is asked for, whichever comes first."""
    loading, asked = asyncio.create_task(load), asyncio.create_task(stop.asked.wait())
    try:
        await asyncio.wait((loading, asked), return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            loading.result()
            announce(state)
            await asked
    finally:
        loading.cancel()
        asked.cancel()
