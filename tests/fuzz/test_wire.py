"""Malformed HTTP/1.1 at the REST port, malformed HTTP/2 and protobuf at the gRPC port; then a good call."""

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

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


async def test_a_methods_name_that_is_not_utf8_is_refused_and_nobody_else_notices() -> None:
    """It ended grpcio's server for good, found by `make fuzz`."""
    request = pb.ScoreRequest(items=[pb.ScoreItem(prompt="p", response="r")])
    async with served() as it:
        watch = HealthStub(it.channel).Watch(HealthCheckRequest())
        assert (await watch.read()).status == HealthCheckResponse.SERVING
        seen = await throw(it.grpc_port, [HTTP2[0].replace(b"RewardService", b"RewardServic\xe5")] * 3)
        assert seen.num_answered == 3
        assert len((await it.stub.Score(request)).scores) == 1
        assert not watch.done(), "another caller's stream ended with it"
        watch.cancel()
