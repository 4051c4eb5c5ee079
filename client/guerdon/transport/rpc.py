"""gRPC over one channel."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any
from urllib.parse import urlsplit

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError

from guerdon.errors import ConnectionFailed, GuerdonError, InvalidInput, InvalidReply, error_class
from guerdon.transport.base import NAMED_PARTS, Payload, Verb
from guerdon.transport.tls import Tls
from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_protos.v1.guerdon_pb2_grpc import RewardServiceStub

ERROR_KEY = "guerdon-error-bin"
"""Trailer with a serialised `guerdon.v1.Error`."""
PUSHBACK_KEY = "grpc-retry-pushback-ms"
KEEPALIVE_MS, KEEPALIVE_TIMEOUT_MS = 60_000, 20_000
"""What is sent and not acknowledged for so long ends its connection, and the call is tried on another one: a
router that forgets idle connections tells nobody, and TCP alone goes on for a quarter of an hour."""
CODE_OF_STATUS = {
    grpc.StatusCode.INVALID_ARGUMENT: "invalid_input",
    grpc.StatusCode.UNAUTHENTICATED: "unauthenticated",
    grpc.StatusCode.PERMISSION_DENIED: "permission_denied",
    grpc.StatusCode.NOT_FOUND: "unknown_model",
    grpc.StatusCode.FAILED_PRECONDITION: "gate_refused",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "overloaded",
    grpc.StatusCode.UNAVAILABLE: "connection_failed",
    grpc.StatusCode.CANCELLED: "connection_failed",
    grpc.StatusCode.DEADLINE_EXCEEDED: "deadline_exceeded",
    grpc.StatusCode.INTERNAL: "backend_failed",
    grpc.StatusCode.UNIMPLEMENTED: "invalid_reply",
}
"""What a status means when its trailers are not Guerdon's: the library or a proxy made it."""
METHODS: dict[Verb, tuple[str, Any]] = {
    "score": ("Score", pb.ScoreRequest),
    "compare": ("Compare", pb.CompareRequest),
    "rank": ("Rank", pb.RankRequest),
    "models": ("ListModels", pb.ListModelsRequest),
    "policies": ("ListPolicies", pb.ListPoliciesRequest),
    "add_dataset": ("AddDataset", pb.AddDatasetRequest),
    "evaluations": ("ListEvaluations", pb.ListEvaluationsRequest),
    "evaluation_report": ("GetEvaluationReport", pb.GetEvaluationReportRequest),
    "cancel_evaluation": ("CancelEvaluation", pb.CancelEvaluationRequest),
    "register": ("RegisterModel", pb.RegisterModelRequest),
    "registered_models": ("ListRegisteredModels", pb.ListRegisteredModelsRequest),
    "history": ("GetModelHistory", pb.GetModelHistoryRequest),
    "model_card": ("GetModelCard", pb.GetModelCardRequest),
    "promote": ("PromoteModel", pb.PromoteModelRequest),
    "rollback": ("RollbackModel", pb.RollbackModelRequest),
    "remove_alias": ("RemoveAlias", pb.RemoveAliasRequest),
    "feedback": ("SubmitFeedback", pb.SubmitFeedbackRequest),
    "agreement": ("GetAgreement", pb.GetAgreementRequest),
}
CLOSED = "the client is closed; make a new one"
STREAMS: dict[Verb, tuple[str, Any]] = {
    "best_of_n": ("BestOfN", pb.BestOfNRequest),
    "evaluate_policy": ("EvaluatePolicy", pb.EvaluatePolicyRequest),
    "start_evaluation": ("Evaluate", pb.EvaluateRequest),
    "follow_evaluation": ("Evaluate", pb.EvaluateRequest),
    "evaluation": ("Evaluate", pb.EvaluateRequest),
}
"""Verbs whose method answers with a stream."""


class RpcTransport:
    """`Transport` over HTTP/2 and protobuf.

    Args:
        url: ``grpc://host:port``, or ``grpcs://...`` for TLS.
        api_key: sent as a bearer token in the metadata.
        tls: files for ``grpcs://``; None: the public authorities.
    """

    def __init__(self, url: str, api_key: str | None, tls: Tls | None) -> None:
        parts = urlsplit(url)
        self._url, self._target = url, parts.netloc
        self._pems = (tls or Tls()).pems() if parts.scheme == "grpcs" else None
        self._local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        self._metadata = () if api_key is None else (("authorization", f"Bearer {api_key}"),)
        self._channel: grpc.aio.Channel | None = None
        self._closed = False

    async def call(self, verb: Verb, payload: Payload, timeout_s: float) -> Payload:
        """See `Transport.call`.

        Raises:
            InvalidInput: a verb that only REST has.
        """
        if verb in STREAMS:
            return await self._part(verb, payload, timeout_s)
        if verb not in METHODS:
            raise InvalidInput(f"{verb} is not served over gRPC; use the service's http:// URL", param="url")
        method, request_class = METHODS[verb]
        if verb == "add_dataset":  # whatever a record holds, protobuf has no type for it
            payload = payload | {"records": [json.dumps(record) for record in payload["records"]]}
        request = _request(request_class, payload)
        with self._failures():
            reply = await getattr(self._stub(), method)(request, timeout=timeout_s, metadata=self._metadata)
        return _plain(reply)

    async def stream(self, verb: Verb, payload: Payload, timeout_s: float | None) -> AsyncGenerator[Payload]:
        """See `Transport.stream`."""
        method, request_class = STREAMS[verb]
        request = _request(request_class, payload)
        call = getattr(self._stub(), method)(request, timeout=timeout_s, metadata=self._metadata)
        try:
            with self._failures():
                async for message in call:
                    yield _plain(message)
        finally:
            call.cancel()  # does nothing to one that ended

    async def close(self) -> None:
        """Close the channel."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close(grace=None)

    async def _part(self, verb: Verb, payload: Payload, timeout_s: float) -> Payload:
        """The result of what has named parts; of an evaluation, which goes on, what is known now."""
        async with aclosing(self.stream(verb, payload, timeout_s)) as parts:
            async for part in parts:
                if verb not in NAMED_PARTS:
                    return part
                if "result" in part:
                    found: Payload = part["result"]
                    return found
        raise InvalidReply(f"{self._url} ended its answer too early; ask again")

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What gRPC raises, as the client's errors."""
        try:
            yield
        except grpc.aio.AioRpcError as err:
            raise error_of(err, self._url) from err
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():  # by the channel, not the caller
                raise RuntimeError(CLOSED) from None
            raise

    def _stub(self) -> Any:
        # The channel belongs to the running loop, so it is made by the first call, not by __init__.
        if self._closed:
            raise RuntimeError(CLOSED)
        if self._channel is None:
            _check_not_forked()
            options = [
                ("grpc.enable_retries", 0),  # retries are the client's, once
                ("grpc.initial_reconnect_backoff_ms", 100),
                ("grpc.max_reconnect_backoff_ms", 2000),
                ("grpc.keepalive_time_ms", KEEPALIVE_MS),  # which the timeout needs
                ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
                ("grpc.max_receive_message_length", -1),
                ("grpc.enable_http_proxy", 0 if self._local else 1),
            ]
            if self._pems is not None:
                credentials = grpc.ssl_channel_credentials(*self._pems)
                self._channel = grpc.aio.secure_channel(self._target, credentials, options=options)
            else:
                self._channel = grpc.aio.insecure_channel(self._target, options=options)
        return RewardServiceStub(self._channel)


_channels_of: set[int] = set()
"""Processes that made a channel: this one, and those that it was forked from."""


def _check_not_forked() -> None:
    _channels_of.add(os.getpid())
    if len(_channels_of) > 1:
        reason = "gRPC does not survive a fork; spawn the process, or use the http:// URL"
        raise ConnectionFailed(reason, retryable=False)


def _request(request_class: Any, payload: Payload) -> Any:
    try:
        return request_class(**payload)
    except (TypeError, ValueError) as err:
        raise InvalidInput(f"the request cannot be sent over gRPC: {err}") from None


def _plain(message: Any) -> Payload:
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


def error_of(err: grpc.aio.AioRpcError, url: str) -> GuerdonError:
    """The error that a failed call tells, with the service's pushback (gRFC A6)."""
    metadata: Any = err.trailing_metadata() or ()  # pairs, whatever the stubs say
    trailers: dict[str, str | bytes] = dict(iter(metadata))
    told = _told(trailers.get(ERROR_KEY))
    after_s, retryable = parse_pushback(trailers.get(PUSHBACK_KEY))
    code = CODE_OF_STATUS.get(err.code(), "internal")
    if told is not None:
        if after_s is None and told.HasField("retry_after_ms"):
            after_s = told.retry_after_ms / 1000
        param = told.param if told.HasField("param") else None
        known = error_class(told.code, code)
        return known(told.message, param=param, retry_after_s=after_s, retryable=retryable)
    details = err.details() or err.code().name
    if code == "overloaded" and "larger than max" in details:
        code = "payload_too_large"  # the library's own limit shares its status with a full queue
    if code == "connection_failed":
        return ConnectionFailed(
            f"cannot reach {url} ({details}); is the service running?", retryable=retryable
        )
    return error_class(code)(details, retry_after_s=after_s, retryable=retryable)


def parse_pushback(value: str | bytes | None) -> tuple[float | None, bool]:
    """``(retry_after_s, may retry)`` of ``grpc-retry-pushback-ms``: negative or unparsable means do not."""
    if value is None:
        return None, True
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    digits = text.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        return int(digits) / 1000, True
    return None, False


def _told(blob: str | bytes | None) -> pb.Error | None:
    if not isinstance(blob, bytes):
        return None
    try:
        return pb.Error.FromString(blob)
    except DecodeError:
        return None
