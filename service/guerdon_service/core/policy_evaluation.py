"""The evaluation of policies as data: what is asked, how far it is, what it found."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from guerdon_service.core.conversation import Message
from guerdon_service.core.generation import SamplingParams
from guerdon_service.core.query import Options
from guerdon_service.core.result import Provenance
from guerdon_service.core.statistics.interval import Interval


@dataclass(frozen=True, slots=True)
class PolicyPrompt:
    """A prompt, with the response to beat where no baseline policy gives one."""

    messages: tuple[Message, ...]
    baseline_response: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyEvaluationQuery:
    """Measure `policies` on `prompts`. Equal prompts are one cluster of every interval.

    policies: names; several are compared with each other as well, as checkpoints of one run, in this order.
    n: responses that each policy samples to a prompt; the first is what win rates compare.
    params: prompt i is sampled with the seed ``params.seed + i``, by every policy.
    baseline: policy that win rates are against; None: the prompts' own `baseline_response`, if any.
    reference: policy that the KL is to; None is `baseline`.
    options: names the reward model; its lane and deadline are not used, because this is bulk work.
    gold: name of a second reward model, by which the first is checked.
    judge: name of a judge, which compares first responses in both orders.
    """

    policies: tuple[str, ...]
    prompts: tuple[PolicyPrompt, ...]
    n: int = 1
    params: SamplingParams = field(default_factory=SamplingParams)
    baseline: str | None = None
    reference: str | None = None
    options: Options = field(default_factory=Options)
    gold: str | None = None
    judge: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyEvaluationProgress:
    """Steps done, of all: a step is one prompt sampled and scored, judged, or read for the KL."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class WinRate:
    """Share of prompts won against the baseline, ties half: raw, and at equal length.

    length_effect: log-odds that length adds between equal responses, per unit of the hyperbolic tangent of
        the standardised difference in characters (Dubois et al., arXiv 2404.04475).
    """

    raw: Interval
    length_controlled: Interval
    length_effect: float


@dataclass(frozen=True, slots=True)
class JudgedWinRate:
    """Win rate by a judge that was asked in both orders; each prompt counts with the mean of the two.

    flip_rate: share of pairs that the judge decides otherwise when the order is turned.
    position_effect: what standing first adds to a response's probability of winning; 1 is a judge that
        always prefers the first. None of both where no pair was read in both orders.
    num_asked: pairs put to the judge. num_undecided: of these, left out because it named neither, or
        refused them as too long.
    """

    win_rate: WinRate | None
    flip_rate: Interval | None
    position_effect: Interval | None
    num_asked: int
    num_undecided: int


@dataclass(frozen=True, slots=True)
class Kl:
    """KL(policy || reference) per response in nats, on the policy's own samples.

    k1 is unbiased, and may dip below zero; k3 has less variance and cannot (Schulman, "Approximating KL
    Divergence", 2020).
    """

    k1: Interval
    k3: Interval


@dataclass(frozen=True, slots=True)
class CurveRow:
    """Best-of-n at one n, means over prompts with 95 % intervals that resample prompts.

    proxy, gold: expected reward of the choice. gold_gain: paired, over n = 1 on the same samples; above zero
        the choice pays, and where it falls again the proxy is over-optimised (Gao et al., arXiv 2210.10760).
    """

    n: int
    kl_upper_bound: float
    proxy: Interval
    gold: Interval | None
    gold_gain: Interval | None


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """One policy. Figures against a baseline, a gold model, a judge or a reference are None without one.

    reward: mean over prompts of the mean over responses. reward_gain, gold_gain: over the baseline's, paired
        by prompt.
    reward_variance: among responses to one prompt, averaged over prompts; 0 with one response each.
    mean_tokens: None where the policy does not tell.
    ended_rate: share of responses that ended by themselves.
    unscored_rate: share of responses that are empty or do not fit the reward models. They lose, and are in
        no other figure.
    kl_absent: why there is no `kl`; empty when there is.
    best_of_n: rows for n = 1, 2, 4, ... as far as every prompt has scored responses.
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
    best_of_n: tuple[CurveRow, ...]
    reward_gain: Interval | None
    gold_gain: Interval | None


@dataclass(frozen=True, slots=True)
class OverOptimisationPoint:
    """One checkpoint on the way from the reference, by its KL where every one has it, else in given order.

    proxy, gold: mean rewards. proxy_change, gold_change: paired by prompt, over the point before; None for
        the first.
    over_optimised: the proxy rose and gold fell since the point before, both beyond their intervals; never
        by fewer than six distinct prompts.
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
    """What was found. Without times it is a function of the query, where the policies are of their seeds.

    baseline: name of the policy; empty for given responses, and where nothing was compared.
    baseline_reward: mean reward of the baseline's responses.
    over_optimisation: empty with a single policy.
    """

    model: Provenance
    gold: Provenance | None
    baseline: str
    reference: str
    judge: str
    baseline_reward: Interval | None
    num_prompts: int
    n: int
    seed: int
    policies: tuple[PolicyReport, ...]
    over_optimisation: tuple[OverOptimisationPoint, ...]
    total_s: float


class PolicyEvaluator(Protocol):
    """What a transport asks for. Raises only `core.errors`."""

    def stream(
        self, query: PolicyEvaluationQuery
    ) -> AsyncIterator[PolicyEvaluationProgress | PolicyEvaluation]:
        """Progress after every step, the result last; closing it stops the work."""
        ...

    async def run(self, query: PolicyEvaluationQuery) -> PolicyEvaluation:
        """The result alone."""
        ...
