"""A service over fakes on real ports, with any settings."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from guerdon_service.app.listen import Listening, listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.core.auth import Keyring
from guerdon_service.core.reading import Reading
from tests.contract.harness import KEYS
from tests.domain_fakes import services_of
from tests.fakes import running_service

ITEM = {"prompt": "p", "response": "r"}
BODY = {"items": [ITEM]}


@asynccontextmanager
async def opened(
    *, locked: bool = False, reading: Reading | None = None, **given: Any
) -> AsyncIterator[Listening]:
    """Where it listens; `locked` asks for the keys of the contract suite."""
    settings = Settings(**({"port": 0, "grpc_port": 0} | given))
    auth = Keyring(KEYS if locked else ())
    async with (
        running_service(limits=settings.limits) as service,
        listening(
            services_of(service), settings, auth=auth, observer=PrometheusObserver(), reading=reading
        ) as at,
    ):
        yield at
