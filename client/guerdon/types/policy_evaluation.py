"""What an evaluation of policies gives. Intervals are 95 % and resample prompts, equal ones together."""

from dataclasses import dataclass

from guerdon.types.evaluation import Interval
from guerdon.types.scoring import ModelRef, Prompt


@dataclass(frozen=True, slots=True)
class PolicyPrompt:
    """A prompt, and the response to beat where no policy gives it."""

    prompt: Prompt
    baseline_response: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyEvaluationProgress:
    """Steps done, of all: a step is one prompt sampled and scored, judged, or read for the KL."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class WinRate:
    """Share of prompts won against the baseline, ties half: raw, and at equal length.

    length_effect: log-odds that length adds between equal responses, per unit of its hyperbolic tangent.
    """

    raw: Interval
    length_controlled: Interval
    length_effect: float


@dataclass(frozen=True, slots=True)
class JudgedWinRate:
    """Win rate by a judge that was asked in both orders.

    flip_rate: share of pairs whose winner depends on the order.
    position_effect: probability of winning that standing first adds.
    num_undecided: of `num_asked` pairs, left out because the judge named neither or refused them.
    """

    win_rate: WinRate | None
    flip_rate: Interval | None
    position_effect: Interval | None
    num_asked: int
    num_undecided: int


@dataclass(frozen=True, slots=True)
class Kl:
    """KL to the reference per response in nats; k1 is unbiased, k3 has less variance."""

    k1: Interval
    k3: Interval


@dataclass(frozen=True, slots=True)
class BestOfNRow:
    """Best-of-n at one n: expected reward of the choice by the model that chooses, and by gold."""

    n: int
    kl_upper_bound: float
    proxy: Interval
    gold: Interval | None
    gold_gain: Interval | None


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """One policy. What was not asked for is None; `kl_absent` says why there is no `kl`.

    unscored_rate: share of responses that are empty or too long for a reward model. They lose.
    reward_gain, gold_gain: over the baseline, paired by prompt.
    """

    policy: str
    digest: str
    reward: Interval
    gold_reward: Interval | None
    reward_variance: float
    mean_chars: float
    mean_tokens: float | None
    ended_rate: float
    unscored_rate: float
    win_rate: WinRate | None
    gold_win_rate: WinRate | None
    judged: JudgedWinRate | None
    kl: Kl | None
    kl_absent: str
    best_of_n: tuple[BestOfNRow, ...]
    reward_gain: Interval | None
    gold_gain: Interval | None


@dataclass(frozen=True, slots=True)
class OverOptimisationPoint:
    """One checkpoint; changes are paired by prompt, over the point before.

    over_optimised: the reward rose and gold fell since the point before, both beyond their intervals.
    """

    policy: str
    kl: Interval | None
    proxy: Interval
    gold: Interval | None
    proxy_change: Interval | None
    gold_change: Interval | None
    over_optimised: bool


@dataclass(frozen=True, slots=True)
class PolicyEvaluation:
    """What was found.

    baseline: name of the policy; empty for given responses, and where nothing was compared.
    over_optimisation: empty with a single policy.
    """

    model: ModelRef
    gold: ModelRef | None
    baseline: str
    reference: str
    judge: str
    baseline_reward: Interval | None
    num_prompts: int
    n: int
    seed: int
    policies: tuple[PolicyReport, ...]
    over_optimisation: tuple[OverOptimisationPoint, ...]
    total_ms: float
    request_id: str
