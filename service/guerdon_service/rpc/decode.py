"""Protobuf bytes to queries. Unknown fields are refused, as REST refuses them."""

from collections.abc import Iterable
from typing import TypeVar

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Protobuf
from google.protobuf.unknown_fields import UnknownFieldSet

from guerdon_protos.v1 import guerdon_pb2 as pb
from guerdon_service.core.call import Call, options, turns
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits, check_count
from guerdon_service.core.query import CompareQuery, Options, Pair, RankQuery, ScoreQuery

M = TypeVar("M", bound=Protobuf)


def parse(kind: type[M], data: bytes) -> M:
    """Parse one message strictly.

    Raises:
        InvalidInput: not a message of that kind (a string that is not UTF-8 included), or it holds fields
            that this service does not know, which would otherwise be ignored without a word.
    """
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError as err:
        raise InvalidInput(f"{err}; send what this service's proto says", param="message") from None
    size = message.ByteSize()
    message.DiscardUnknownFields()  # in nested messages too
    if message.ByteSize() != size:
        unknown = UnknownFieldSet(kind.FromString(data))
        where = f"field {unknown[0].field_number}" if len(unknown) else "a field of a nested message"
        raise InvalidInput(
            f"{kind.DESCRIPTOR.full_name} has {where} that is unknown here; use this service's proto",
            param="message",
        )
    return message


def decode_score(message: pb.ScoreRequest, call: Call, limits: Limits) -> ScoreQuery:
    """A score query."""
    asked = _options(message, call)
    check_count("items", len(message.items), limits)
    items = [
        Conversation(decode_turns(item, f"items[{i}]."), item.response)
        for i, item in enumerate(message.items)
    ]
    return ScoreQuery(tuple(items), asked)


def decode_compare(message: pb.CompareRequest, call: Call, limits: Limits) -> CompareQuery:
    """A compare query."""
    asked = _options(message, call)
    check_count("pairs", len(message.pairs), limits)
    pairs = enumerate(message.pairs)
    return CompareQuery(
        tuple(Pair(decode_turns(pair, f"pairs[{i}]."), pair.a, pair.b) for i, pair in pairs), asked
    )


def decode_rank(message: pb.RankRequest, call: Call, limits: Limits) -> RankQuery:
    """A rank query."""
    asked = _options(message, call)
    top_k = message.top_k if message.HasField("top_k") else None
    prompt = decode_turns(message, "")
    check_count("candidates", len(message.candidates), limits)
    return RankQuery(prompt, tuple(message.candidates), top_k, asked)


def _options(message: pb.ScoreRequest | pb.CompareRequest | pb.RankRequest, call: Call) -> Options:
    return options(
        call,
        model=message.model,
        profile=message.profile,
        lane=message.lane,
        deadline_ms=message.deadline_ms if message.HasField("deadline_ms") else None,
    )


def decode_turns(
    message: pb.ScoreItem
    | pb.Pair
    | pb.RankRequest
    | pb.BestOfNRequest
    | pb.PolicyPrompt
    | pb.SubmitFeedbackRequest,
    path: str,
) -> tuple[Message, ...]:
    """The turns before the response; `path` precedes their fields in errors."""
    prompt = message.prompt if message.HasField("prompt") else None
    messages = message.messages
    return turns(prompt, _messages(messages) if messages else None, path)


def _messages(messages: Iterable[pb.Message]) -> tuple[Message, ...]:
    return tuple(Message(m.role, m.content) for m in messages)


def required(message: M, *names: str) -> M:
    """`message` itself.

    Raises:
        InvalidInput: one of `names` is empty, which on this wire is the same as missing.
    """
    for name in names:
        if not getattr(message, name):
            raise InvalidInput(f"{name} is missing; give one", param=name)
    return message
