"""Calls below the generated stubs, so that messages no client library would send can be sent."""

from typing import Any

import grpc.aio

from tests.contract.harness import Refused, refusal

SERVICE = "/guerdon.v1.RewardService/"


def method(channel: grpc.aio.Channel, name: str, *, stream: bool = False) -> Any:
    """A method of the service that takes and gives bytes."""
    bytes_in_and_out: Any = channel  # whose serializers may be left out, whatever the stubs say
    return (bytes_in_and_out.stream_stream if stream else bytes_in_and_out.unary_unary)(SERVICE + name)


async def refused(
    channel: grpc.aio.Channel, name: str, data: bytes, **call: Any
) -> tuple[grpc.StatusCode, Refused]:
    """The status of a call that must fail, and what its trailers tell."""
    try:
        await method(channel, name)(data, **call)
    except grpc.aio.AioRpcError as err:
        return err.code(), refusal(err)
    raise AssertionError("the call was answered")


def field(number: int, payload: bytes) -> bytes:
    """A length-delimited protobuf field (its length below 128)."""
    assert len(payload) < 128
    return bytes([number << 3 | 2, len(payload)]) + payload
