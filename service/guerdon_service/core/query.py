"""What callers ask: one frozen dataclass per verb, and the options they share."""

from dataclasses import dataclass, field
from enum import StrEnum

from guerdon_service.core.conversation import Conversation, Message


class Lane(StrEnum):
    """Two lanes of one queue; neither can starve the other."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Options:
    """What every verb may say besides its data."""

    model: str | None = None
    """Name of a loaded model; None is the service's default model."""
    profile: str | None = None
    """Named head weights of that model; None is its default profile."""
    deadline_s: float | None = None
    """Seconds from arrival after which the caller no longer wants the answer."""
    lane: Lane = Lane.INTERACTIVE
    tenant: str = ""
    """Who asks; salts the cache key so that hit timing leaks nothing between tenants."""
    request_id: str = ""
    is_retry: bool = False
    """Whether a full queue refused the same request before, which was charged as a request then."""


@dataclass(frozen=True, slots=True)
class ScoreQuery:
    """Score each conversation on its own."""

    items: tuple[Conversation, ...]
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one prompt."""

    prompt: tuple[Message, ...]
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class CompareQuery:
    """Which of two responses is preferred, with what probability."""

    pairs: tuple[Pair, ...]
    options: Options = field(default_factory=Options)


@dataclass(frozen=True, slots=True)
class RankQuery:
    """Order candidates that answer one prompt, best first."""

    prompt: tuple[Message, ...]
    candidates: tuple[str, ...]
    top_k: int | None = None
    options: Options = field(default_factory=Options)
