"""What only gRPC has: statuses, trailers, pushback."""

import grpc
import pytest

import guerdon
from guerdon import Client
from guerdon.transport.rpc import parse_pushback
from guerdon_protos.v1 import guerdon_pb2 as pb
from tests.client.conftest import FakeClock, Service
from tests.client.stub import Failure

ITEM = [("p", "r")]
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED


def trailer(code: str, **fields: object) -> tuple[str, bytes]:
    error = pb.Error(code=code, message=f"{code}; do this", **fields)  # type: ignore[arg-type]
    return "guerdon-error-bin", error.SerializeToString()


def raised(grpc_service: Service, failure: Failure) -> guerdon.GuerdonError:
    url, stub = grpc_service
    stub.failures.append(failure)
    with Client(url, max_retries=0) as client, pytest.raises(guerdon.GuerdonError) as caught:
        client.score(ITEM)
    return caught.value


def test_pushback_is_honoured(grpc_service: Service, fake: FakeClock) -> None:
    url, stub = grpc_service
    stub.failures.append(Failure(FULL, trailers=(trailer("overloaded"), ("grpc-retry-pushback-ms", "1500"))))
    fake.uniform = 0.0
    with Client(url, clock=fake.clock) as client:
        client.score(ITEM)
    assert fake.slept == [1.5]


@pytest.mark.parametrize("pushback", ["-1", "soon", ""])
def test_a_pushback_that_forbids_retries(grpc_service: Service, fake: FakeClock, pushback: str) -> None:
    url, stub = grpc_service
    stub.failures.append(
        Failure(FULL, trailers=(trailer("overloaded"), ("grpc-retry-pushback-ms", pushback)))
    )
    with Client(url, clock=fake.clock) as client, pytest.raises(guerdon.Overloaded):
        client.score(ITEM)
    assert (fake.slept, len(stub.requests)) == ([], 1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, (None, True)),
        ("0", (0.0, True)),
        (b"20", (0.02, True)),
        ("1.5", (None, False)),
        ("-0", (None, False)),
    ],
)
def test_pushback_forms(value: str | None, expected: tuple[float | None, bool]) -> None:
    assert parse_pushback(value) == expected


def test_the_trailer_tells_more_than_the_status(grpc_service: Service) -> None:
    told = trailer("input_too_long", param="items[0].response", retry_after_ms=7)
    error = raised(grpc_service, Failure(grpc.StatusCode.INVALID_ARGUMENT, trailers=(told,)))
    assert type(error) is guerdon.InputTooLong
    assert (error.message, error.param, error.retry_after_s) == (
        "input_too_long; do this",
        "items[0].response",
        0.007,
    )


def test_an_unknown_code_is_tried_again_where_its_status_says_so(grpc_service: Service) -> None:
    told = trailer("from_the_future")
    full, invalid = (
        raised(grpc_service, Failure(status, trailers=(told,)))
        for status in (FULL, grpc.StatusCode.FAILED_PRECONDITION)
    )
    assert (type(full), full.retryable, type(invalid)) == (guerdon.Overloaded, True, guerdon.GuerdonError)


@pytest.mark.parametrize(
    ("status", "details", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, "proxy is down", guerdon.ConnectionFailed),
        (grpc.StatusCode.UNAUTHENTICATED, "who?", guerdon.Unauthenticated),
        (FULL, "quota", guerdon.Overloaded),
        (FULL, "Received message larger than max (9 vs. 8)", guerdon.PayloadTooLarge),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "late", guerdon.DeadlineExceeded),
        (grpc.StatusCode.DATA_LOSS, "odd", guerdon.GuerdonError),
    ],
)
def test_a_status_without_the_trailer(
    grpc_service: Service, status: grpc.StatusCode, details: str, expected: type[guerdon.GuerdonError]
) -> None:
    junk = (("guerdon-error-bin", b"\xff\xff"),)
    for trailers in ((), junk):
        error = raised(grpc_service, Failure(status, details=details, trailers=trailers))
        assert type(error) is expected
        assert details in error.message


def test_the_deadline_reaches_the_server(grpc_service: Service) -> None:
    url, stub = grpc_service
    with Client(url) as client:
        client.score(ITEM, deadline_s=20)
    assert 0 < float(stub.requests[0][2]["timeout_s"]) <= 20.5


def test_admin_verbs_are_rests(grpc_service: Service) -> None:
    url, stub = grpc_service
    with Client(url) as client, pytest.raises(guerdon.InvalidInput, match="not served over gRPC"):
        client.load_model("m", "folder")
    assert stub.requests == []
