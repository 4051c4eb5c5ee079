"""The client's tree mirrors the service's."""

import pickle

import grpc
import pytest

import guerdon
from guerdon.errors import GuerdonError, error_class
from guerdon.transport import rest, rpc
from guerdon_service.core import errors as core

SERVICE_ERRORS = [v for v in vars(core).values() if isinstance(v, type) and issubclass(v, core.GuerdonError)]


@pytest.mark.parametrize("theirs", SERVICE_ERRORS, ids=lambda e: e.code)
def test_every_code_of_the_service_has_its_class_here(theirs: type[core.GuerdonError]) -> None:
    ours = error_class(theirs.code)
    assert (ours.code, ours.__name__) == (theirs.code, theirs.__name__)
    assert [b.__name__ for b in ours.__mro__] == [b.__name__ for b in theirs.__mro__]


@pytest.mark.parametrize(("status", "code"), rest.CODE_OF_STATUS.items())
def test_a_status_without_a_body_is_judged_as_the_service_means_it(status: int, code: str) -> None:
    """A proxy that strips bodies must not turn one error into another."""
    meant = {e.code for e in SERVICE_ERRORS if e.http_status == status}
    assert code in meant or (status, code) == (502, "connection_failed")


@pytest.mark.parametrize(("status", "code"), rpc.CODE_OF_STATUS.items())
def test_a_grpc_status_without_trailers_too(status: grpc.StatusCode, code: str) -> None:
    meant = {e.code for e in SERVICE_ERRORS if e.grpc_status == status.name}
    assert code in meant or code in ("connection_failed", "invalid_reply")


def test_every_status_that_the_service_uses_has_a_meaning_without_a_body() -> None:
    """A bare 404 is a wrong URL rather than an unknown model, and a bare 500 says nothing."""
    assert {e.http_status for e in SERVICE_ERRORS} - {404, 500} <= set(rest.CODE_OF_STATUS)
    assert {e.grpc_status for e in SERVICE_ERRORS} <= {s.name for s in rpc.CODE_OF_STATUS}


def test_a_bare_500_is_not_retried() -> None:
    error = rest.error_of(500, {}, b"<html>oops</html>")
    assert isinstance(error, guerdon.InvalidReply)
    assert not error.retryable


def test_only_transient_errors_are_retryable() -> None:
    retryable = {e.code for e in map(error_class, [s.code for s in SERVICE_ERRORS]) if e("m").retryable}
    assert retryable == {"overloaded", "rate_limited", "not_ready"}
    assert guerdon.ConnectionFailed("m").retryable
    assert not guerdon.Overloaded("m", retryable=False).retryable


def test_an_unknown_code_is_the_base_class() -> None:
    assert error_class("from_the_future") is GuerdonError
    assert error_class(None) is GuerdonError


def test_an_unknown_code_is_tried_again_where_its_status_says_so() -> None:
    """Of a newer service, or a gateway with errors of the same shape."""
    body = b'{"error": {"code": 503, "message": "no healthy upstream", "status": "UNAVAILABLE"}}'
    error = rest.error_of(503, {"retry-after": "2"}, body)
    assert (type(error), error.message, error.retry_after_s, error.retryable) == (
        guerdon.NotReady,
        "no healthy upstream",
        2.0,
        True,
    )
    assert type(rest.error_of(429, {}, body)) is guerdon.Overloaded
    for status in (404, 409, 422, 500):
        assert type(rest.error_of(status, {}, body)) is GuerdonError


def test_errors_survive_pickling() -> None:
    error = guerdon.Overloaded("full", param="items[3]", retry_after_s=1.5)
    error.items = range(3, 5)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), vars(copy), str(copy)) == (guerdon.Overloaded, vars(error), "full (items 3 to 4)")
