"""Stub services, and time that passes only when told."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from guerdon.client.retry import Clock
from tests.client.stub import Stub, grpc_stub, rest_stub

Service = tuple[str, Stub]


@pytest.fixture
def rest() -> Iterator[Service]:
    with rest_stub() as service:
        yield service


@pytest.fixture
def grpc_service() -> Iterator[Service]:
    with grpc_stub() as service:
        yield service


@pytest.fixture(params=["rest", "grpc"])
def service(request: pytest.FixtureRequest) -> Iterator[Service]:
    with (rest_stub if request.param == "rest" else grpc_stub)() as found:
        yield found


@dataclass
class FakeClock:
    """Sleeping advances `now_s` at once and is noted; `uniform` is what chance gives."""

    now_s: float = 100.0
    uniform: float = 0.5
    slept: list[float] = field(default_factory=list)

    async def sleep(self, duration_s: float) -> None:
        self.slept.append(duration_s)
        self.now_s += duration_s

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now_s, sleep=self.sleep, random=lambda: self.uniform)


@pytest.fixture
def fake() -> FakeClock:
    return FakeClock()
