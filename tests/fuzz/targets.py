"""What is fuzzed: each target takes bytes and may raise nothing but the errors that its callers expect."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from guerdon.errors import GuerdonError as ClientError
from guerdon.transport import rest as client_rest
from guerdon.transport import rpc as client_rpc
from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.cache.codec import unseal
from guerdon_service.core.audit import told
from guerdon_service.core.call import Call, request_id, wire_text
from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.limits import Limits
from guerdon_service.core.manifest import from_json, to_json
from guerdon_service.core.model_name import check_model_name, split_reference
from guerdon_service.core.query import CompareQuery, RankQuery, ScoreQuery
from guerdon_service.core.strict_json import check_depth, parse_json
from guerdon_service.rest import decode as rest_decode
from guerdon_service.rest.best_of_n_wire import decode_best_of_n
from guerdon_service.rest.evaluation_wire import decode_evaluation
from guerdon_service.rest.feedback_wire import decode_feedback
from guerdon_service.rest.policy_evaluation_wire import decode_policy_evaluation
from guerdon_service.rest.registry_wire import decode_promote, decode_register, decode_rollback
from guerdon_service.rpc import best_of_n as rpc_best_of_n
from guerdon_service.rpc import decode as rpc_decode
from guerdon_service.rpc import evaluation as rpc_evaluation
from guerdon_service.rpc import feedback as rpc_feedback
from guerdon_service.rpc import policy_evaluation as rpc_policy_evaluation
from guerdon_service.scoring.admission import compare_entries, rank_entries, score_entries
from tests.fakes import manifest

Target = Callable[[bytes], None]

CALL = Call("team", "r")
LIMITS = Limits(max_items=50, max_item_chars=2000)
REST: tuple[Callable[[object, Call], object], ...] = (
    rest_decode.decode_score,
    rest_decode.decode_compare,
    rest_decode.decode_rank,
    rest_decode.decode_spec,
    decode_best_of_n,
    decode_evaluation,
    decode_policy_evaluation,
    decode_feedback,
    decode_register,
    partial(decode_promote, name="m"),
    decode_rollback,
)
RPC: tuple[tuple[Any, Callable[[Any, Call], object]], ...] = (
    (pb.ScoreRequest, rpc_decode.decode_score),
    (pb.CompareRequest, rpc_decode.decode_compare),
    (pb.RankRequest, rpc_decode.decode_rank),
    (pb.BestOfNRequest, rpc_best_of_n.decode_best_of_n),
    (pb.EvaluateRequest, rpc_evaluation.decode_evaluation),
    (pb.EvaluatePolicyRequest, rpc_policy_evaluation.decode_policy_evaluation),
    (pb.SubmitFeedbackRequest, rpc_feedback.decode_feedback),
    (pb.ScoreStreamRequest, lambda message, call: rpc_decode.decode_score(message.request, call)),
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
    }
)
