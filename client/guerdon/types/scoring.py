"""What scoring, comparing and ranking take and give, and the models that do it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Lane = Literal["interactive", "bulk"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `role` is ``system``, ``user``, ``assistant`` or ``tool``."""

    role: str
    content: str


Prompt = str | Sequence[Message | Mapping[str, str]]
"""A string is one user turn; otherwise the turns before the response, as messages or dicts."""


@dataclass(frozen=True, slots=True)
class Item:
    """A response to score, and what it answers."""

    prompt: Prompt
    response: str


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to one prompt."""

    prompt: Prompt
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Which model gave the numbers; equal references mean comparable rewards."""

    name: str
    version: str
    digest: str
    profile: str
    backend: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call cost. Of a call that was split, the sum over its requests, times included.

    Its requests run side by side: `total_ms`, like the other times, adds up to more than the clock shows.
    """

    items: int
    tokens: int
    cached: int
    tokenize_ms: float
    queue_ms: float
    forward_ms: float
    total_ms: float


@dataclass(frozen=True, slots=True)
class Score:
    """One conversation's reward.

    reward: what to sort by.
    attributes: normalised value by attribute name.
    raw: head output by head name, exactly as the model gave it.
    std: spread of ensemble members behind `reward`; 0.0 for a model with one member.
    """

    reward: float
    attributes: Mapping[str, float]
    raw: Mapping[str, float]
    std: float
    tokens: int
    truncated: bool
    cached: bool


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """Scores in the order of the items. `request_ids` name the requests in the service's log."""

    model: ModelRef
    scores: tuple[Score, ...]
    usage: Usage
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Preference:
    """P(a is preferred to b), with its 95 % interval ``[low, high]``; `margin` is reward a less reward b.

    Of a model that is not calibrated the interval is ``[0, 1]``, as it is not known.
    """

    p_a: float
    low: float
    high: float
    margin: float
    preferred: Literal["a", "b", "tie"]
    a: Score
    b: Score


@dataclass(frozen=True, slots=True)
class CompareResult:
    """Preferences in the order of the pairs."""

    model: ModelRef
    preferences: tuple[Preference, ...]
    usage: Usage
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """One candidate; `index` is its place in the caller's list, `p_best` its chance of being the best."""

    index: int
    reward: float
    p_best: float
    std: float
    score: Score


@dataclass(frozen=True, slots=True)
class RankResult:
    """Candidates best first."""

    model: ModelRef
    results: tuple[RankedCandidate, ...]
    usage: Usage
    request_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model that the service holds. `state` is ``loading``, ``ready`` or ``failed``."""

    name: str
    version: str
    digest: str
    backend: str
    dtype: str
    heads: tuple[str, ...]
    profiles: tuple[str, ...]
    max_tokens: int
    state: str
    default: bool
    inferred: tuple[str, ...]
    aliases: tuple[str, ...] = ()
