"""Shapes of policy evaluations, for the OpenAPI document alone: `policy_evaluation_wire.py` is what reads."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from guerdon_service.bestofn.admission import MAX_SAMPLES
from guerdon_service.bestofn.policy_admission import MAX_POLICIES
from guerdon_service.core.call import MAX_INT32
from guerdon_service.rest.evaluation_schema import Figure
from guerdon_service.rest.reply_schema import ModelRef
from guerdon_service.rest.request_schema import Messages, Positive, Prompt, one_of_prompt_and_messages


class PolicyPrompt(BaseModel):
    """A prompt, and the response to beat where no policy gives it."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=one_of_prompt_and_messages)
    prompt: Prompt = None
    messages: Messages = None
    baseline_response: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Instead of `baseline`; every prompt has one, or none."
    )


_EXAMPLE: dict[str, Any] = {
    "policies": ["smollm2"],
    "prompts": [
        {"prompt": "Write one sentence about rain.", "baseline_response": "It rains."},
        {"prompt": "Write one sentence about snow.", "baseline_response": "It snows."},
    ],
    "max_tokens": 8,
    "seed": 1,
}


class PolicyEvaluationRequest(BaseModel):
    """Measure policies on prompts: rewards, win rates, KL, and where the reward model is over-optimised."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_EXAMPLE]})
    policies: Annotated[
        list[str],
        Field(
            min_length=1, max_length=MAX_POLICIES, description="Names; several are checkpoints of one run."
        ),
    ]
    prompts: Annotated[list[PolicyPrompt], Field(min_length=1)]
    n: Annotated[int, Field(ge=1, le=MAX_SAMPLES)] | None = Field(
        None, description="Responses of each policy to a prompt: 1; the first one is compared."
    )
    max_tokens: Positive | None = Field(None, description="Most tokens of one response: 128.")
    temperature: float | None = Field(None, ge=0, description="1; 0 is greedy.")
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus of sampling: 1.")
    seed: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = Field(
        None, description="0; prompt i is sampled with seed + i."
    )
    baseline: str | None = Field(None, description="Policy that win rates are against.")
    reference: str | None = Field(None, description="Policy that the KL is to; none is the baseline.")
    model: str | None = Field(None, description="Name of a loaded model; none is the default model.")
    profile: str | None = Field(None, description="Named head weights; none is the model's default profile.")
    gold: str | None = Field(None, description="Second reward model, by which the first is checked.")
    judge: str | None = Field(None, description="Judge that compares first responses, in both orders.")
    stream: bool | None = Field(
        None, description="Reply with events `progress`, then `result`, or `error`, as they come."
    )


class WinRate(BaseModel):
    """Share of prompts won against the baseline, ties half."""

    raw: Figure
    length_controlled: Figure = Field(description="At equal length, by a logistic model.")
    length_effect: float = Field(description="Log-odds that length adds, per unit of its tanh.")


class JudgedWinRate(BaseModel):
    """Win rate by a judge that was asked in both orders."""

    win_rate: WinRate | None
    flip_rate: Figure | None = Field(description="Share of pairs whose winner depends on the order.")
    position_effect: Figure | None = Field(description="Probability of winning that standing first adds.")
    num_asked: int
    num_undecided: int = Field(description="Left out, because the judge named neither or refused them.")


class Kl(BaseModel):
    """KL to the reference, per response in nats, on the policy's own samples."""

    k1: Figure = Field(description="Unbiased; may dip below zero.")
    k3: Figure = Field(description="Less variance; never below zero.")


class BestOfNRow(BaseModel):
    """Best-of-n by the reward model, at one n."""

    n: int
    kl_upper_bound: float
    proxy: Figure
    gold: Figure | None
    gold_gain: Figure | None = Field(description="Paired, over n = 1.")


class PolicyReport(BaseModel):
    """One policy."""

    policy: str
    digest: str
    reward: Figure
    gold_reward: Figure | None
    reward_variance: float = Field(description="Among responses to one prompt, averaged over prompts.")
    mean_chars: float
    mean_tokens: float | None
    ended_rate: float
    unscored_rate: float = Field(description="Share of responses that are empty or too long; they lose.")
    win_rate: WinRate | None
    gold_win_rate: WinRate | None
    judged: JudgedWinRate | None
    kl: Kl | None
    kl_absent: str = Field(description="Why there is no KL; empty when there is.")
    best_of_n: list[BestOfNRow]
    reward_gain: Figure | None = Field(description="Over the baseline, paired by prompt.")
    gold_gain: Figure | None


class OverOptimisationPoint(BaseModel):
    """One checkpoint, in the order of the KL where every one has it."""

    policy: str
    kl: Figure | None
    proxy: Figure
    gold: Figure | None
    proxy_change: Figure | None = Field(description="Paired, over the point before.")
    gold_change: Figure | None
    over_optimised: bool = Field(description="The proxy rose and gold fell, both beyond their intervals.")


class PolicyEvaluation(BaseModel):
    """What was found."""

    model: ModelRef
    gold: ModelRef | None
    baseline: str = Field(description="Empty for given responses, and where nothing was compared.")
    reference: str
    judge: str
    baseline_reward: Figure | None
    num_prompts: int
    n: int
    seed: int
    policies: list[PolicyReport]
    over_optimisation: list[OverOptimisationPoint] = Field(description="Empty with a single policy.")
    total_ms: float
    request_id: str
