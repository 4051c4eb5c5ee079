"""``python -m tests.fuzz.killed``: a call that ends grpcio's server; writes ``told`` once that is noticed."""

import asyncio
import os
import sys

from guerdon_service.app.listen import listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.core.auth import Keyring
from tests.domain_fakes import services_of
from tests.fakes import running_service
from tests.fuzz.streams import HTTP2, throw


async def main() -> None:
    """Return never: what is left of the server is not to be freed."""
    told = asyncio.Event()
    async with (
        running_service() as service,
        listening(
            services_of(service),
            Settings(port=0, grpc_port=0),
            auth=Keyring(),
            observer=PrometheusObserver(),
            on_end=told.set,
        ) as at,
    ):
        await throw(at.grpc_port, [HTTP2[0].replace(b"RewardService", b"RewardServic\xe5")])
        await told.wait()
        sys.stdout.write("told\n")
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    asyncio.run(main())
