"""Shapes of best-of-n, for the OpenAPI document alone: `best_of_n_wire.py` reads and writes them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from guerdon_service.bestofn.admission import MAX_SAMPLES
from guerdon_service.core.call import MAX_INT32
from guerdon_service.rest.reply_schema import ModelRef, Score
from guerdon_service.rest.request_schema import Messages, Positive, Prompt, one_of_prompt_and_messages


def _schema(schema: dict[str, Any]) -> None:
    one_of_prompt_and_messages(schema)
    schema["examples"] = [
        {"policy": "smollm2", "prompt": "Write one sentence about rain.", "n": 4, "max_tokens": 40, "seed": 1}
    ]


class BestOfNRequest(BaseModel):
    """Sample n responses of `policy`, score each under `model`, choose one."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_schema)
    policy: str = Field(description="Name of a policy of this service.")
    prompt: Prompt = None
    messages: Messages = None
    n: Annotated[int, Field(ge=1, le=MAX_SAMPLES, description="Responses to sample.")]
    max_tokens: Positive | None = Field(None, description="Most tokens of one response: 128.")
    temperature: float | None = Field(None, ge=0, description="1; 0 is greedy.")
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus of sampling: 1.")
    seed: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = Field(
        None, description="0; equal seeds give equal responses."
    )
    conservatism: float | None = Field(None, ge=0, description="k of the choice by reward - k * std: 0.")
    choice_temperature: float | None = Field(
        None, ge=0, description="0 takes the best; above, soft best-of-n."
    )
    min_margin: float | None = Field(
        None, ge=0, description="Abstain when the best leads the second by less: 0."
    )
    patience: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = Field(
        None, description="Stop after so many candidates without a better one; 0 samples all n."
    )
    stream: bool | None = Field(
        None, description="Reply with events `candidate`, then `result`, or `error`, as they come."
    )
    model: str | None = Field(None, description="Name of a loaded model; none is the default model.")
    profile: str | None = Field(None, description="Named head weights; none is the model's default profile.")
    deadline_ms: Positive | None = Field(None, description="When the best of what arrived is chosen, in ms.")


class PolicyList(BaseModel):
    """What `policy` may be."""

    policies: list[str]


class Candidate(BaseModel):
    """One scored response; `index` is its place among the n, whatever the order of arrival."""

    index: int
    response: str
    finish_reason: Literal["stop", "length"]
    score: Score
    duplicate_of: int | None = Field(description="Index of an equal text that was scored first.")


class BestOfNResponse(BaseModel):
    """The choice and what it was chosen from."""

    policy: str
    model: ModelRef
    best: int | None = Field(description="Index of the chosen candidate; null when abstained.")
    candidates: list[Candidate]
    abstained: bool
    partial: bool = Field(description="The policy died or the deadline came first.")
    stopped_early: bool
    kl_upper_bound: float = Field(description="log n - (n - 1) / n in nats: an upper bound.")
    expected_win_rate: float = Field(description="n / (n + 1) against one sample: an upper bound.")
    total_ms: float
    request_id: str
