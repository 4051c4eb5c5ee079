"""Draining and streams: those that choose are waited for, those that only watch are sent elsewhere."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import httpx
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub
from guerdon_service.app.listen import Listening
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.server import Stop, run
from guerdon_service.app.settings import Settings
from guerdon_service.core.auth import Keyring
from tests.contract.harness import refusal
from tests.domain_fakes import EchoBestOfN, StepEvaluator, services_of
from tests.fakes import running_service

BEST: dict[str, Any] = {"policy": "echo", "prompt": "p", "n": 3}


@asynccontextmanager
async def running(gate: asyncio.Event, drain_timeout_s: float) -> AsyncIterator[tuple[Stop, Any, Any, Any]]:
    """`run` over a policy that waits for `gate` after its first candidate; evaluations never move."""
    stop, announced = Stop(), asyncio.Future[Listening]()
    async with running_service() as scorer:
        services = services_of(
            scorer, best_of_n=EchoBestOfN(scorer, gate=gate), evaluator=StepEvaluator(asyncio.Semaphore(0))
        )
        ended = asyncio.create_task(
            run(
                services,
                Settings(port=0, grpc_port=0, drain_timeout_s=drain_timeout_s),
                auth=Keyring(),
                observer=PrometheusObserver(),
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
                yield stop, rest, RewardServiceStub(channel), ended
        finally:
            stop.ask()
            stop.ask()
            await ended


async def test_a_drain_waits_for_best_of_n_and_sends_followers_away() -> None:
    gate = asyncio.Event()
    async with running(gate, 60) as (stop, rest, stub, ended):
        choosing = stub.BestOfN(pb.BestOfNRequest(policy="echo", prompt="p", n=3))
        assert (await choosing.read()).candidate.index == 0
        watching = stub.Evaluate(pb.EvaluateRequest(candidate="m", dataset="d"))
        assert (await watching.read()).state == "queued"
        stop.ask()
        with pytest.raises(grpc.aio.AioRpcError) as sent_away:
            await watching.read()
        assert refusal(sent_away.value).code == "not_ready"
        refused = await rest.post("/v1/best-of-n", json=BEST)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert not ended.done()
        gate.set()
        parts = [(await choosing.read()).WhichOneof("event") for _ in range(3)]
        assert parts == ["candidate", "candidate", "result"]
        await asyncio.wait_for(ended, 30)


async def test_a_stream_that_outlasts_the_drain_is_told() -> None:
    async with running(asyncio.Event(), 0.05) as (stop, rest, _, ended):
        async with rest.stream("POST", "/v1/best-of-n", json=BEST | {"stream": True}) as response:
            lines = response.aiter_lines()
            assert await anext(lines) == "event: candidate"
            stop.ask()
            rest_of_it = [line async for line in lines]
        assert "event: error" in rest_of_it
        assert any('"code":"not_ready"' in line for line in rest_of_it)
        await asyncio.wait_for(ended, 30)
