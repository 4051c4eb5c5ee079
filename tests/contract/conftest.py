from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.limits import Limits
from tests.contract.harness import InProcess, Rest, Rpc, Served, Way, served

SPECS = (
    ModelSpec("fake", "good"),
    ModelSpec("double", "double"),
    ModelSpec("both", "", members=("fake", "double"), conservatism=0.5),
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Served]:
    async with served(*SPECS, limits=Limits(max_items=50, max_item_chars=2000)) as it:
        yield it


@pytest.fixture(params=["in-process", "rest", "grpc"])
def way(request: pytest.FixtureRequest, running: Served) -> Way:
    ways: dict[str, Way] = {
        "in-process": InProcess(running.service),
        "rest": Rest(running.rest),
        "grpc": Rpc(running.stub),
    }
    return ways[request.param]
