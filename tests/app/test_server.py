"""The service's life: live while loading, ready when loaded, draining when asked, and then gone."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
import httpx
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub
from guerdon_service.app.doors import bind
from guerdon_service.app.listen import Listening, listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.server import Stop, run, signals_ask
from guerdon_service.app.settings import Settings
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.auth import Keyring
from guerdon_service.core.errors import InvalidInput
from guerdon_service.rpc.http2 import frames as f
from guerdon_service.rpc.http2.frames import Code
from guerdon_service.scoring.service import ScoringService
from tests.contract.harness import Gate, Watching
from tests.domain_fakes import services_of
from tests.fakes import load_fake, running_service
from tests.policies.tiny_policy import build_policy
from tests.ports import free_port
from tests.rpc.http2.peer import connected

BODY = {"items": [{"prompt": "p", "response": "r"}]}
REQUEST = pb.ScoreRequest(items=[pb.ScoreItem(prompt="over gRPC", response="r")])


@dataclass
class Running:
    """A service in the hands of `run`, and a client of each kind."""

    stop: Stop
    at: Listening
    ended: asyncio.Task[None]
    rest: httpx.AsyncClient
    stub: Any


@asynccontextmanager
async def running(
    gate: Gate | None = None, *, drain_timeout_s: float = 60, observer: PrometheusObserver | None = None
) -> AsyncIterator[Running]:
    stop, observer, announced = Stop(), observer or PrometheusObserver(), asyncio.Future[Listening]()
    settings = Settings(port=0, grpc_port=0, drain_timeout_s=drain_timeout_s)
    load = gate.load if gate else load_fake
    async with running_service(load=load, observer=observer) as service:
        ended = asyncio.create_task(
            run(
                services_of(service),
                settings,
                auth=Keyring(),
                observer=observer,
                load=lambda: asyncio.sleep(0),
                announce=announced.set_result,
                stop=stop,
            )
        )
        at = await announced
        try:
            async with (
                httpx.AsyncClient(base_url=f"http://127.0.0.1:{at.port}", trust_env=False) as rest,
                grpc.aio.insecure_channel(f"127.0.0.1:{at.grpc_port}") as channel,
            ):
                yield Running(stop, at, ended, rest, RewardServiceStub(channel))
        finally:
            if gate:
                gate.opened.set()
            if not ended.done():
                stop.ask()
                stop.ask()
            await ended


async def score(it: Running, prompt: str) -> httpx.Response:
    return await it.rest.post("/v1/score", json={"items": [{"prompt": prompt, "response": "r"}]}, timeout=30)


async def score_rpc(it: Running) -> Any:
    return await it.stub.Score(REQUEST)


async def test_draining_answers_what_is_under_way_and_refuses_what_comes() -> None:
    gate, observer = Gate(), Watching()
    async with running(gate, observer=observer) as it:
        under_way = [asyncio.create_task(score(it, "a")), asyncio.create_task(score(it, "b"))]
        call, stream = asyncio.create_task(score_rpc(it)), it.stub.ScoreStream()
        await stream.write(pb.ScoreStreamRequest(id="one", request=REQUEST))
        await observer.until(lambda: observer.num_admitted == 4)
        it.stop.ask()
        ready = await it.rest.get("/health/ready")
        assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
        assert (await it.rest.get("/health/live")).status_code == 200
        refused = await score(it, "late")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        with pytest.raises(grpc.aio.AioRpcError) as err:
            await it.stub.Score(REQUEST)
        assert err.value.code() == grpc.StatusCode.UNAVAILABLE
        assert not it.ended.done()
        gate.opened.set()
        assert [r.status_code for r in await asyncio.gather(*under_way)] == [200, 200]
        assert len((await call).scores) == 1
        assert len((await stream.read()).response.scores) == 1
        await asyncio.wait_for(it.ended, 30)
        for port in (it.at.port, it.at.grpc_port):
            with pytest.raises(OSError, match=r"refused|Connect call failed"):
                await asyncio.open_connection("127.0.0.1", port)


async def test_draining_sends_callers_elsewhere_and_answers_what_they_began() -> None:
    """Their connections last: without GOAWAY all that they ask while it drains would be refused."""
    gate, observer = Gate(), Watching()
    async with running(gate, observer=observer) as it, connected(it.at.grpc_port) as peer:
        peer.call(1)
        await observer.until(lambda: observer.num_admitted == 1)
        it.stop.ask()
        _, told = await peer.until(f.GOAWAY)
        assert [number for (number,) in f.UINT32.iter_unpack(told[:8])] == [1, Code.NO_ERROR]
        gate.opened.set()
        assert (await peer.answer(1)).status == 0


async def test_draining_ends_after_its_timeout() -> None:
    gate, observer = Gate(), Watching()
    async with running(gate, drain_timeout_s=0.05, observer=observer) as it:
        stuck = asyncio.create_task(score(it, "stuck"))
        await observer.until(lambda: observer.num_admitted == 1)
        it.stop.ask()
        await asyncio.wait_for(asyncio.shield(it.ended), 30)
        assert (await stuck).json()["error"]["code"] == "not_ready", "every accepted request is answered"


async def test_asking_twice_stops_at_once() -> None:
    gate, observer = Gate(), Watching()
    async with running(gate, drain_timeout_s=10_000, observer=observer) as it:
        stuck = asyncio.create_task(score(it, "stuck"))
        await observer.until(lambda: observer.num_admitted == 1)
        it.stop.ask()
        it.stop.ask()
        await asyncio.wait_for(asyncio.shield(it.ended), 30)
        assert (await stuck).json()["error"]["code"] == "not_ready", "every accepted request is answered"


async def test_an_idle_kept_alive_connection_does_not_hold_the_service() -> None:
    async with running(drain_timeout_s=10_000) as it:
        assert (await score(it, "a")).status_code == 200
        it.stop.ask()
        await asyncio.wait_for(it.ended, 30)


@dataclass
class Slow:
    """Loading that waits to be let go, and may then be refused."""

    service: ScoringService
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def load(self, source: str) -> None:
        await self.go.wait()
        await self.service.load_model(ModelSpec("slow", source))


async def test_live_while_loading_and_announced_when_loaded() -> None:
    stop, observer, announced = Stop(), PrometheusObserver(), asyncio.Future[Listening]()
    port, grpc_port = free_port(), free_port()
    async with running_service() as service, httpx.AsyncClient(trust_env=False) as rest:
        await service.unload_model("fake")
        slow = Slow(service)
        ended = asyncio.create_task(
            run(
                services_of(service),
                Settings(port=port, grpc_port=grpc_port),
                auth=Keyring(),
                observer=observer,
                load=lambda: slow.load("good"),
                announce=announced.set_result,
                stop=stop,
            )
        )
        live = await answered(rest, f"http://127.0.0.1:{port}/health/live")
        ready = await rest.get(f"http://127.0.0.1:{port}/health/ready")
        assert (live.status_code, ready.status_code) == (200, 503)
        assert ready.json()["error"]["message"] == "no model is loaded"
        assert not announced.done()
        slow.go.set()
        assert (await announced).port == port
        assert (await rest.get(f"http://127.0.0.1:{port}/health/ready")).status_code == 200
        stop.ask()
        await ended


async def test_a_refused_model_ends_the_service_with_its_reason() -> None:
    async with running_service() as service:
        slow = Slow(service)
        slow.go.set()
        with pytest.raises(InvalidInput, match="source is bad"):
            await run(
                services_of(service),
                Settings(port=0, grpc_port=0),
                auth=Keyring(),
                observer=PrometheusObserver(),
                load=lambda: slow.load("bad"),
                announce=lambda at: pytest.fail("it never was ready"),
                stop=Stop(),
            )


@pytest.mark.parametrize("name", ["port", "grpc_port"])
async def test_a_taken_port_is_named(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = Settings.model_validate({"port": 0, "grpc_port": 0} | {name: taken.getsockname()[1]})
        async with running_service() as service:
            with pytest.raises(InvalidInput) as refused:
                async with listening(
                    services_of(service), settings, auth=Keyring(), observer=PrometheusObserver()
                ):
                    pytest.fail("it listened on a taken port")
    assert refused.value.param == name


async def test_small_writes_are_not_held_back() -> None:
    """Nagle's algorithm and delayed acknowledgements together would add 40 ms to every reply."""
    accepted = asyncio.Future[asyncio.BaseTransport]()

    class Accept(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            accepted.set_result(transport)

    listener = bind("127.0.0.1", 0)
    async with await asyncio.get_running_loop().create_server(Accept, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        transport = await accepted
        nodelay = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.close()
        transport.close()
    assert nodelay


async def answered(rest: httpx.AsyncClient, url: str) -> httpx.Response:
    """The first answer of a service that is just starting in this loop."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await rest.get(url)
            except httpx.ConnectError:
                await asyncio.sleep(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_asks_to_stop_and_a_second_one_at_once(number: int) -> None:
    stop = Stop()
    async with signals_ask(stop):
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.asked.wait(), 30)
        assert not stop.at_once.is_set()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.at_once.wait(), 30)


async def test_the_command_serves_the_default_model_logs_json_alone_and_stops_on_a_signal(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    policy = build_policy(tmp_path / "policy")  # whose weights transformers would load under a bar
    arguments = ["serve", "--port", "0", "--grpc-port", "0", "--policy", f"tiny={policy}"]
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "guerdon", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            cwd=tmp_path,
        )
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    try:
        words = dict(word.split("=", 1) for word in line.split()[2:])
        assert line.startswith("guerdon ready rest=http://127.0.0.1:")
        async with httpx.AsyncClient(base_url=words["rest"], trust_env=False) as rest:
            assert len((await rest.post("/v1/score", json=BODY)).json()["scores"]) == 1
        async with grpc.aio.insecure_channel(words["grpc"]) as channel:
            assert len((await RewardServiceStub(channel).Score(REQUEST)).scores) == 1
    finally:
        process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    told = [json.loads(line)["message"] for line in log.read_text().splitlines()]
    assert {"model ready", "ready", "draining"} <= set(told)
