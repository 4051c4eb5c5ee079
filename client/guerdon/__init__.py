"""Guerdon: client library and command line for reward models.

>>> from guerdon import Client, MockTransport, reward_handler
>>> with Client(MockTransport(reward_handler(lambda prompt, response: float(len(response))))) as client:
...     client.score([("Hi", "Hello")]).scores[0].reward
5.0
"""

from guerdon.client import AsyncClient, Client
from guerdon.errors import (
    BackendFailed,
    ConnectionFailed,
    DeadlineExceeded,
    GateRefused,
    GuerdonError,
    InputTooLong,
    InvalidInput,
    InvalidReply,
    ModelChanged,
    NotReady,
    Overloaded,
    PayloadTooLarge,
    PermissionDenied,
    TooManyItems,
    Unauthenticated,
    UnknownEvaluation,
    UnknownModel,
    UnsupportedMedia,
)
from guerdon.transport import MockTransport, Transport, reward_handler
from guerdon.types import (
    CompareResult,
    Item,
    Message,
    ModelInfo,
    ModelRef,
    Pair,
    Preference,
    RankedCandidate,
    RankResult,
    Score,
    ScoreResult,
    Usage,
)

__all__ = [
    "AsyncClient",
    "BackendFailed",
    "Client",
    "CompareResult",
    "ConnectionFailed",
    "DeadlineExceeded",
    "GateRefused",
    "GuerdonError",
    "InputTooLong",
    "InvalidInput",
    "InvalidReply",
    "Item",
    "Message",
    "MockTransport",
    "ModelChanged",
    "ModelInfo",
    "ModelRef",
    "NotReady",
    "Overloaded",
    "Pair",
    "PayloadTooLarge",
    "PermissionDenied",
    "Preference",
    "RankResult",
    "RankedCandidate",
    "Score",
    "ScoreResult",
    "TooManyItems",
    "Transport",
    "Unauthenticated",
    "UnknownEvaluation",
    "UnknownModel",
    "UnsupportedMedia",
    "Usage",
    "reward_handler",
]
