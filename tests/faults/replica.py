"""``python -m tests.faults.replica``: the service's own life over fakes, as a process that can be killed."""

import asyncio
import sys

from guerdon_service.app.listen import Listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.server import Stop, run, signals_ask
from guerdon_service.app.settings import Settings
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.auth import Keyring
from tests.domain_fakes import services_of
from tests.fakes import running_service
from tests.faults.scene import MODEL
from tests.registry.versions import load_versions


async def main() -> None:
    """Serve until a signal asks to stop."""
    stop, observer = Stop(), PrometheusObserver()
    async with (
        signals_ask(stop),
        running_service(ModelSpec(MODEL, "1"), load=load_versions, observer=observer) as service,
    ):
        await run(
            services_of(service),
            Settings(port=0, grpc_port=0),
            auth=Keyring(),
            observer=observer,
            load=lambda: asyncio.sleep(0),
            announce=_announce,
            stop=stop,
        )


def _announce(at: Listening) -> None:
    sys.stdout.write(f"{at.port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
