"""Shapes of replies, for the OpenAPI document alone: `render.py` is what writes them."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ModelRef(BaseModel):
    """Which model gave the numbers."""

    name: str
    version: str
    digest: str
    profile: str
    backend: str
    dtype: str


class Score(BaseModel):
    """One conversation's reward; no activation is ever applied."""

    reward: float = Field(description="The profile's weighted sum of `attributes`, less k times `std`.")
    attributes: dict[str, float] = Field(description="Normalised value by attribute.")
    raw: dict[str, float] = Field(description="Head output by head, as the model gave it.")
    std: float = Field(description="Spread of ensemble members; 0 for a single one.")
    tokens: int
    truncated: bool = Field(description="The prompt was cut on the left; a response never is.")
    cached: bool


class Usage(BaseModel):
    """What the request cost. Times in milliseconds."""

    items: int
    tokens: int
    cached: int
    tokenize_ms: float
    queue_ms: float
    forward_ms: float
    total_ms: float


class ScoreResponse(BaseModel):
    """Scores in the order of the items."""

    model: ModelRef
    scores: list[Score]
    usage: Usage
    request_id: str


class Preference(BaseModel):
    """P(a is preferred to b) with a 95 % interval; P(a, b) + P(b, a) is exactly 1."""

    p_a: float
    low: float = Field(description="0 of a model that is not calibrated: its interval is not known.")
    high: float = Field(description="1 of a model that is not calibrated.")
    margin: float = Field(description="Reward of a less reward of b.")
    preferred: Literal["a", "b", "tie"]
    a: Score
    b: Score


class CompareResponse(BaseModel):
    """Preferences in the order of the pairs."""

    model: ModelRef
    preferences: list[Preference]
    usage: Usage
    request_id: str


class RankedCandidate(BaseModel):
    """One candidate; `index` is its place in the request."""

    index: int
    reward: float
    p_best: float = Field(description="Its chance of being the best of all candidates.")
    std: float
    score: Score


class RankResponse(BaseModel):
    """Candidates best first."""

    model: ModelRef
    results: list[RankedCandidate]
    usage: Usage
    request_id: str


class Check(BaseModel):
    """One check of the score certificate."""

    name: str
    passed: bool
    detail: str


class ModelInfo(BaseModel):
    """A model that the service holds."""

    name: str
    version: str
    digest: str
    backend: str
    dtype: str
    heads: list[str]
    profiles: list[str]
    max_tokens: int
    state: Literal["loading", "ready", "failed"]
    default: bool
    inferred: list[str] = Field(description="What a folder without a manifest left to be inferred.")
    certificate: list[Check] = Field(description="What the model proved before it became ready.")
    aliases: list[str] = Field(description="Aliases that point at this version.")


class ModelDetail(ModelInfo):
    """A model with its manifest: heads, profiles, calibration, parents and metrics."""

    manifest: dict[str, Any] | None = Field(description="Null until it is loaded, and for an ensemble.")


class ModelList(BaseModel):
    """Every model that is loaded, loading or failed."""

    models: list[ModelInfo]


class Health(BaseModel):
    """The process answers, or is ready."""

    status: Literal["live", "ready"]


class DebugState(BaseModel):
    """Queues, breakers and loaded versions of one replica; what is in it may change between versions."""

    model_config = ConfigDict(extra="allow")

    ready: bool
    models: list[dict[str, Any]]


class ErrorDetail(BaseModel):
    """What is wrong, where, and when to try again."""

    code: str
    message: str
    param: str | None = Field(description="Path of the offending field.")
    retry_after_ms: int | None


class Error(BaseModel):
    """Every failure."""

    error: ErrorDetail
