"""``guerdon serve``."""

import asyncio
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial

import uvloop

from guerdon_service.app.auth import load_keys
from guerdon_service.app.collector import hold_collector, settle_heap, settle_imports
from guerdon_service.app.early_checks import check_early
from guerdon_service.app.flags import parse_flags
from guerdon_service.app.leaving import leave_soon
from guerdon_service.app.listen import Listening
from guerdon_service.app.load_settings import load_settings
from guerdon_service.app.logs import claim_transformers_logs, configure_logging
from guerdon_service.app.metrics import PrometheusObserver, watch_loop_lag
from guerdon_service.app.server import Stop, run, signals_ask
from guerdon_service.app.settings import Settings
from guerdon_service.app.tracing import configure_tracing, flush_spans
from guerdon_service.core.auth import Keyring
from guerdon_service.core.reading import Reading
from guerdon_service.quota.limiter import open_limiter

_LOG = logging.getLogger(__name__)


def serve_command(argv: Sequence[str]) -> int:
    """Serve until a signal asks to stop; 0 when the service stopped as asked.

    Raises:
        GuerdonError: a setting is wrong, a port is taken, or a model cannot be served.
    """
    hold_collector()
    flags, config = parse_flags(argv)
    settings = load_settings(flags, os.environ, config)
    check_early(settings)
    configure_logging(settings.log_level, json=settings.log_json)
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it tells of each plugin and step
    if settings.otel:
        configure_tracing()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))
        leave_soon()  # here: the runner, too, waits for threads
        if settings.otel:
            flush_spans()
    return 0


async def _serve(settings: Settings) -> None:
    # torch takes seconds to import: a wrong flag and --help are answered without it.
    from guerdon_service.app.build import build, start

    settle_imports()
    claim_transformers_logs()
    keys, observer, stop = load_keys(settings), PrometheusObserver(settings.slow_request_s), Stop()
    reading = Reading()
    limiter = open_limiter({key.name: key.limits for key in keys}, settings.redis_url)
    lag = asyncio.create_task(watch_loop_lag(observer.loop_lag, reading.lagged))
    async with signals_ask(stop):
        domain = await build(settings, observer)
        load = partial(start, domain, settings)
        try:
            await run(
                domain.services,
                settings,
                auth=Keyring(keys),
                observer=observer,
                load=load,
                announce=_announce,
                stop=stop,
                limiter=limiter,
                reading=reading,
            )
        finally:
            lag.cancel()
            await domain.close()
            await limiter.close()


def _announce(state: Listening) -> None:
    """One line on standard output for whoever started the service; logs go to standard error."""
    settle_heap()
    sys.stdout.write(f"guerdon ready {state}\n")
    sys.stdout.flush()
    _LOG.info("ready", extra={"host": state.host, "port": state.port, "grpc_port": state.grpc_port})
