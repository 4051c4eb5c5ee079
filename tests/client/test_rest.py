"""What only REST has: headers, bodies of proxies, admin verbs."""

import json
from email.utils import formatdate

import pytest

import guerdon
from guerdon import Client
from guerdon.transport.rest import error_of, parse_retry_after
from tests.client.conftest import FakeClock, Service
from tests.client.stub import Failure

ITEM = [("p", "r")]


def body(code: str, retry_after_ms: int | None = None) -> bytes:
    error = {"code": code, "message": f"{code}; do this", "param": None, "retry_after_ms": retry_after_ms}
    return json.dumps({"error": error}).encode()


def retried(rest: Service, fake: FakeClock, *failures: Failure) -> list[float]:
    """Seconds slept by a call that succeeds after `failures`."""
    url, stub = rest
    stub.failures.extend(failures)
    fake.uniform = 0.0
    with Client(url, clock=fake.clock) as client:
        assert len(client.score(ITEM).scores) == 1
    assert len(stub.requests) == len(failures) + 1
    return fake.slept


def test_retry_after_header_is_honoured(rest: Service, fake: FakeClock) -> None:
    assert retried(rest, fake, Failure(429, {"Retry-After": "3"})) == [3.0]


def test_retry_after_ms_in_the_body_is_finer_than_the_header(rest: Service, fake: FakeClock) -> None:
    assert retried(rest, fake, Failure(429, {"Retry-After": "1"}, body("overloaded", 250))) == [0.25]


def test_a_proxys_bare_503_is_retried(rest: Service, fake: FakeClock) -> None:
    assert retried(rest, fake, Failure(503, body=b"<html>"), Failure(502)) == [0.0, 0.0]


def test_a_retry_tells_the_service_the_time_that_is_left(rest: Service, fake: FakeClock) -> None:
    url, stub = rest
    stub.failures.append(Failure(429, {"Retry-After": "4"}))
    fake.uniform = 0.0
    with Client(url, clock=fake.clock) as client:
        client.score(ITEM, deadline_s=10.0)
    assert [payload["deadline_ms"] for _, payload, _ in stub.requests] == [10_000, 6_000]


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": " 120 "}, 120.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": formatdate(1000, usegmt=True), "date": formatdate(970, usegmt=True)}, 30.0),
        ({"retry-after": formatdate(900, usegmt=True), "date": formatdate(970, usegmt=True)}, 0.0),
        ({"retry-after": formatdate(1000, usegmt=True)}, None),
    ],
)
def test_retry_after_forms(headers: dict[str, str], expected: float | None) -> None:
    assert parse_retry_after(headers) == expected


@pytest.mark.parametrize("junk", [b"", b"[]", b'{"error": "text"}', b'{"error": {}}', b"\xff", b"null"])
def test_a_body_that_is_not_guerdons_is_judged_by_its_status(junk: bytes) -> None:
    assert type(error_of(429, {}, junk)) is guerdon.Overloaded
    assert type(error_of(418, {}, junk)) is guerdon.InvalidReply


def test_a_reply_that_is_not_json_is_refused(rest: Service) -> None:
    url, stub = rest
    stub.failures.append(Failure(200, body=b"<html>It works!</html>"))
    with Client(url) as client, pytest.raises(guerdon.InvalidReply, match="Guerdon's URL"):
        client.score(ITEM)


def test_admin_verbs_are_tried_once(rest: Service, fake: FakeClock) -> None:
    url, stub = rest
    stub.failures.append(Failure(503))
    with Client(url, clock=fake.clock) as client, pytest.raises(guerdon.NotReady):
        client.load_model("m", "folder", dtype="bfloat16")
    sent = {"name": "m", "source": "folder", "backend": "torch", "dtype": "bfloat16", "device": "cpu"}
    assert [(verb, payload) for verb, payload, _ in stub.requests] == [("load_model", sent)]


def test_unload_escapes_the_name(rest: Service) -> None:
    url, stub = rest
    stub.failures.append(Failure(204))
    with Client(url) as client:
        client.unload_model("a/b")
    assert stub.requests[0][:2] == ("unload_model", {"name": "a%2Fb"})


def test_a_url_with_a_path_prefixes_the_routes(rest: Service) -> None:
    url, stub = rest
    with Client(url + "/behind/a/proxy") as client:
        client.score(ITEM)
    assert stub.verbs == ["score"]
