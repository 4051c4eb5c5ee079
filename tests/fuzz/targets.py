"""What is fuzzed: each target takes bytes and may raise nothing but the errors that its callers expect."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import grpc

from guerdon.errors import GuerdonError as ClientError
from guerdon.transport import rest as client_rest
from guerdon.transport import rpc as client_rpc
from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.cache.codec import unseal
from guerdon_service.core.audit import told
from guerdon_service.core.auth import ANYONE
from guerdon_service.core.call import Call, request_id, wire_text
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.limits import Limits
from guerdon_service.core.manifest import from_json, to_json
from guerdon_service.core.model_name import check_model_name, split_reference
from guerdon_service.core.query import CompareQuery, RankQuery, ScoreQuery
from guerdon_service.core.strict_json import check_depth, parse_json
from guerdon_service.rest import decode as rest_decode
from guerdon_service.rest.best_of_n_wire import decode_best_of_n
from guerdon_service.rest.dataset import decode_dataset
from guerdon_service.rest.evaluation_wire import decode_evaluation
from guerdon_service.rest.feedback_wire import decode_feedback
from guerdon_service.rest.policy_evaluation_wire import decode_policy_evaluation
from guerdon_service.rest.registry_wire import (
    decode_promote,
    decode_register,
    decode_removal,
    decode_rollback,
)
from guerdon_service.rpc import best_of_n as rpc_best_of_n
from guerdon_service.rpc import dataset as rpc_dataset
from guerdon_service.rpc import decode as rpc_decode
from guerdon_service.rpc import evaluation as rpc_evaluation
from guerdon_service.rpc import feedback as rpc_feedback
from guerdon_service.rpc import policy_evaluation as rpc_policy_evaluation
from guerdon_service.rpc.gate import tell
from guerdon_service.rpc.http2.calls import Bounds, Held
from guerdon_service.rpc.http2.calm import Calm
from guerdon_service.rpc.http2.connection import Connection
from guerdon_service.rpc.http2.frames import HEAD_BYTES, PREFACE, ConnectionFault, StreamFault, settings
from guerdon_service.rpc.http2.head import Head, HeadReader
from guerdon_service.rpc.http2.messages import Refused
from guerdon_service.scoring.admission import compare_entries, rank_entries, score_entries
from tests.fakes import manifest
from tests.fuzz.streams import CALL_HEADERS, HTTP2

Target = Callable[[bytes], None]

CALL = Call("team", "r")
LIMITS = Limits(max_items=50, max_item_chars=2000)
REST: tuple[Callable[[object, Call], object], ...] = (
    partial(rest_decode.decode_score, limits=LIMITS),
    partial(rest_decode.decode_compare, limits=LIMITS),
    partial(rest_decode.decode_rank, limits=LIMITS),
    rest_decode.decode_spec,
    decode_best_of_n,
    decode_dataset,
    decode_evaluation,
    partial(decode_policy_evaluation, limits=LIMITS),
    decode_feedback,
    decode_register,
    partial(decode_promote, name="m"),
    decode_rollback,
    decode_removal,
)
RPC: tuple[tuple[Any, Callable[[Any, Call], object]], ...] = (
    (pb.ScoreRequest, partial(rpc_decode.decode_score, limits=LIMITS)),
    (pb.CompareRequest, partial(rpc_decode.decode_compare, limits=LIMITS)),
    (pb.RankRequest, partial(rpc_decode.decode_rank, limits=LIMITS)),
    (pb.BestOfNRequest, rpc_best_of_n.decode_best_of_n),
    (pb.AddDatasetRequest, rpc_dataset.decode_dataset),
    (pb.EvaluateRequest, rpc_evaluation.decode_evaluation),
    (
        pb.EvaluatePolicyRequest,
        partial(rpc_policy_evaluation.decode_policy_evaluation, limits=LIMITS),
    ),
    (pb.SubmitFeedbackRequest, rpc_feedback.decode_feedback),
    (
        pb.ScoreStreamRequest,
        lambda message, call: rpc_decode.decode_score(message.request, call, LIMITS),
    ),
)


def admit(query: object) -> None:
    """What is decoded must be fit for admission, which then may refuse it."""
    if isinstance(query, ScoreQuery):
        score_entries(query, LIMITS)
    elif isinstance(query, CompareQuery):
        compare_entries(query, LIMITS)
    elif isinstance(query, RankQuery):
        rank_entries(query, LIMITS)


def json_body(data: bytes) -> None:
    """A REST body: parsed, then read as every kind of request."""
    try:
        value = parse_json(data)
    except GuerdonError as error:
        _is_fit_for_the_wire(error)
        return
    for decode in REST:
        try:
            admit(decode(value, CALL))
        except GuerdonError as error:
            _is_fit_for_the_wire(error)
    try:
        check_depth(value, LIMITS.max_json_depth)
    except GuerdonError as error:
        _is_fit_for_the_wire(error)
    if isinstance(value, dict):
        assert all(isinstance(text, str) for text in told(value).values())


def protobuf_message(data: bytes) -> None:
    """A gRPC message, read as every kind of request."""
    for kind, decode in RPC:
        try:
            admit(decode(rpc_decode.parse(kind, data), CALL))
        except GuerdonError as error:
            _is_fit_for_the_wire(error)


def sealed_score(data: bytes) -> None:
    """A cached value that somebody else wrote: never believed."""
    assert unseal(b"key", data, len(data) % 5) is None


def manifest_file(data: bytes) -> None:
    """An artifact's ``manifest.json``; what is read is written back the same."""
    try:
        found = from_json(data.decode("utf-8", "surrogateescape"))
    except GuerdonError as error:
        _is_fit_for_the_wire(error)
        return
    assert from_json(to_json(found)) == found


def short_texts(data: bytes) -> None:
    """Names, ids and texts of headers."""
    text = data.decode("utf-8", "surrogateescape")
    assert request_id(text).isascii()
    assert len(wire_text(text).encode()) <= 4 * 510
    split_reference(text)
    try:
        check_model_name(text, "name")
    except GuerdonError as error:
        _is_fit_for_the_wire(error)


def client_replies(data: bytes) -> None:
    """What a broken server or proxy might answer the client."""
    text = data.decode("latin-1")
    for status in (200, 429, 503):
        error = client_rest.error_of(status, {"retry-after": text, "date": text}, data)
        assert isinstance(error, ClientError)
    client_rest.parse_retry_after({"retry-after": text, "date": text[::-1]})
    client_rpc.parse_pushback(data)


class _Wire(asyncio.Transport):
    """Takes what a connection writes; as in life, none of it after the end."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.is_closed = False

    def write(self, data: bytes) -> None:  # type: ignore[override]
        assert not self.is_closed
        self.written += data

    def is_closing(self) -> bool:
        return self.is_closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """All of it fits."""


class _Echo:
    """A server whose every method sends back what it gets."""

    num_calls = num_connections = num_held = 0

    def accept(self, head: Head) -> Any:
        if not head.path.startswith("/guerdon"):
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, head.path)
        return (_ECHO_STREAM if head.path.endswith("Stream") else _ECHO), ANYONE

    def began(self, head: Head) -> None:
        self.num_calls += 1

    def ended(self, head: Head) -> None:
        self.num_calls -= 1

    def hold(self, head: Head, what: Held, num_bytes: int) -> bool:
        self.num_held += num_bytes
        return True

    def connected(self, connection: Connection) -> bool:
        self.num_connections += 1
        return True

    def disconnected(self, connection: Connection) -> None:
        self.num_connections -= 1


async def _echo(data: bytes, context: Any) -> bytes:
    return data


async def _echo_stream(messages: Any, context: Any) -> None:
    async for data in messages:
        await context.write(data)


_ECHO: Any = grpc.unary_unary_rpc_method_handler(_echo)
_ECHO_STREAM: Any = grpc.stream_stream_rpc_method_handler(_echo_stream)
_LOOP = asyncio.Runner()
_BOUNDS = Bounds(max_message_bytes=1000, max_head_bytes=500, max_streams=4, tell=tell)


def http2_connection(data: bytes) -> None:
    """Frames of a peer, in one piece and in two: nothing is left of it once it is gone."""
    _LOOP.run(_connect([data]))
    _LOOP.run(_connect([data[: len(data) // 2], data[len(data) // 2 :]]))


async def _connect(parts: Sequence[bytes]) -> None:
    host, wire = _Echo(), _Wire()
    connection = Connection(host, _BOUNDS)
    connection.connection_made(wire)
    for part in (PREFACE + settings({}), *parts):
        connection.data_received(part)
        await asyncio.sleep(0)
    connection.connection_lost(None)
    for _ in range(3):
        await asyncio.sleep(0)
    assert (host.num_calls, host.num_connections, host.num_held) == (0, 0, 0)
    at = 0
    while at < len(wire.written):  # whole frames, whatever came
        at += HEAD_BYTES + int.from_bytes(wire.written[at : at + 3])
    assert at == len(wire.written)


def header_block(data: bytes) -> None:
    """A call's headers, twice: what is remembered says the same."""
    reader, heads = HeadReader(5000, Calm(lambda: 0.0)), list[Head | None]()
    for _ in range(2):
        try:
            heads.append(reader.read(data))
        except StreamFault:
            heads.append(None)
        except ConnectionFault:
            return
    if data and min(data) >= 0x80:
        assert heads[0] == heads[1]


def _is_fit_for_the_wire(error: GuerdonError) -> None:
    assert error.http_status < 500, error.message
    wire_text(error.message).encode()
    wire_text(error.param or "").encode()


TARGETS: Mapping[str, Target] = MappingProxyType(
    {
        target.__name__: target
        for target in (
            json_body,
            protobuf_message,
            sealed_score,
            manifest_file,
            short_texts,
            client_replies,
            http2_connection,
            header_block,
        )
    }
)

_ITEM = pb.ScoreItem(prompt="p", messages=[pb.Message(role="user", content="c")], response="r")
SEEDS: Mapping[str, tuple[bytes, ...]] = MappingProxyType(
    {
        "json_body": (
            b'{"model": "m", "items": [{"prompt": "p", "response": "r"}], "deadline_ms": 9, "lane": "bulk"}',
            b'{"pairs": [{"messages": [{"role": "user", "content": "c"}], "a": "x", "b": "y"}]}',
            b'{"prompt": "p", "candidates": ["a", "b"], "top_k": 1, "profile": "both"}',
            b'{"policy": "e", "prompt": "p", "n": 2, "max_tokens": 4, "temperature": 0.5, "seed": 1}',
            b'{"candidate": "m@2", "baseline": "m", "dataset": "d.jsonl", "margin": 1e-3}',
            b'{"prompt": "p", "chosen": "a", "rejected": "b", "tags": {"k": "v"}, "tie": false}',
            b'{"version": "1", "alias": "champion", "override_reason": "\\ud83d\\ude00 \\u0000"}',
        ),
        "protobuf_message": (
            pb.ScoreRequest(model="m", items=[_ITEM], deadline_ms=5, lane="bulk").SerializeToString(),
            pb.CompareRequest(pairs=[pb.Pair(prompt="p", a="a", b="b")]).SerializeToString(),
            pb.RankRequest(prompt="p", candidates=["a", "b"], top_k=1).SerializeToString(),
            pb.BestOfNRequest(policy="e", prompt="p", n=2, seed=3, top_p=0.5).SerializeToString(),
            pb.SubmitFeedbackRequest(prompt="p", chosen="a", tags={"k": "v"}).SerializeToString(),
            pb.ScoreStreamRequest(id="1", request=pb.ScoreRequest(items=[_ITEM])).SerializeToString(),
        ),
        "sealed_score": (b"\x01\x02\x00" + bytes(8) + bytes(16),),
        "manifest_file": (to_json(manifest()).encode(),),
        "short_texts": (b"m@champion", b"org/name@main", "שלום 😀".encode()),
        "client_replies": (
            b'{"error": {"code": "overloaded", "message": "m", "param": null, "retry_after_ms": 5}}',
            b'{"error": {"code": [], "message": "m", "retry_after_ms": "soon"}}',
            b"Wed, 21 Oct 2015 07:28:00 GMT",
            b"Wed, 21 Oct 2015 99999999999999999999:28:00 GMT",
            b"120",
        ),
        "http2_connection": tuple(stream[len(PREFACE) :] for stream in HTTP2),
        "header_block": (
            CALL_HEADERS,
            b"\x82\x86\x84",
            b"\x40\x05x-bin\x04AAAA" + CALL_HEADERS,
            b"\x3f\xe1\x1f\x88",
        ),
    }
)
