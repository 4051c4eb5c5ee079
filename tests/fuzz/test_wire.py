"""Malformed HTTP/1.1 at the REST port, malformed HTTP/2 and protobuf at the gRPC port; then a good call."""

import asyncio
from contextlib import suppress

import grpc.aio
import pytest

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.limits import Limits
from tests.contract.harness import served
from tests.fuzz.mutate import mutations
from tests.fuzz.streams import HTTP1, HTTP2, throw
from tests.security.doors import BODY

NUM_STREAMS = 60


@pytest.mark.parametrize("crossed", [False, True])
async def test_both_ports_live_through_malformed_bytes(crossed: bool) -> None:
    """Each gets what is nearly its own protocol, or the other's."""
    kinds = (HTTP2, HTTP1) if crossed else (HTTP1, HTTP2)
    async with served(limits=Limits(max_body_bytes=100_000)) as it:
        for port, seeds in zip((it.port, it.grpc_port), kinds, strict=True):
            seen = await throw(port, mutations(seeds, NUM_STREAMS, seed=11))
            assert (seen.num_streams, seen.num_5xx) == (NUM_STREAMS, 0)
            assert seen.num_answered > 0
        assert (await it.rest.post("/v1/score", json=BODY)).status_code == 200
        request = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])
        assert len((await it.stub.Score(request)).scores) == 1


async def test_a_methods_name_that_is_not_utf8_ends_no_service() -> None:
    """grpcio's server stops for good at it, found by `make fuzz`; ours is opened again on the same port."""
    killer = HTTP2[0].replace(b"RewardService", b"RewardServic\xe5")
    request = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])
    async with served() as it:
        for _ in range(3):
            await throw(it.grpc_port, [killer])
            async with asyncio.timeout(60):
                while True:  # calls at work end with the server; as after a restart, the next one is answered
                    with suppress(grpc.aio.AioRpcError):
                        assert len((await it.stub.Score(request, wait_for_ready=True)).scores) == 1
                        break
