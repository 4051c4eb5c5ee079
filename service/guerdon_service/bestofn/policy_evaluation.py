"""What a policy is worth: against a baseline, against its reference, and under best-of-n."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from guerdon_service.bestofn.over_optimisation import CurveRow, over_optimisation_curve, reward_variance
from guerdon_service.bestofn.samples import Prompt, Samples, draw_samples
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.generation import Generated, Policy, SamplingParams
from guerdon_service.core.query import Options
from guerdon_service.core.scorer import Scorer
from guerdon_service.core.statistics.arrays import Floats
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.length_controlled import LengthControlled, length_controlled_win_rate


@runtime_checkable
class LogProbs(Protocol):
    """A policy that can say how likely its tokens are: an embedded one."""

    async def logprobs(self, prompt: Prompt, responses: Sequence[Generated]) -> list[Floats]:
        """Log-probability of every token of each response at temperature 1, in nats: float64 [tokens]."""
        ...


@dataclass(frozen=True, slots=True)
class PolicyEvaluationQuery:
    """Measure `policy` on `prompts`.

    n: samples per prompt; the first is what win rates compare.
    options: names the reward model. gold: one that it is checked by.
    """

    prompts: tuple[Prompt, ...]
    n: int = 1
    params: SamplingParams = field(default_factory=SamplingParams)
    options: Options = field(default_factory=Options)
    gold: Options | None = None


@dataclass(frozen=True, slots=True)
class Kl:
    """KL(policy || baseline) per response in nats, on the policy's own samples.

    k1 is unbiased, and may dip below zero; k3 has less variance and cannot (Schulman, 2020).
    """

    k1: Interval
    k3: Interval


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What was found. Figures against the baseline are None without one; `kl` also where it is remote.

    win_rate: of the first samples under the reward model, raw and at equal length; `gold_win_rate` under the
        gold model. Models here score one response at a time, so the order of the two cannot matter.
    """

    curve: tuple[CurveRow, ...]
    reward_variance: float
    mean_tokens: float
    ended_rate: float
    win_rate: LengthControlled | None
    gold_win_rate: LengthControlled | None
    kl: Kl | None


async def evaluate_policy(
    scorer: Scorer, policy: Policy, query: PolicyEvaluationQuery, baseline: Policy | None = None
) -> PolicyReport:
    """Sample, score and compare. With the same seeds it gives the same numbers.

    Raises:
        GuerdonError: see `draw_samples`.
        InvalidInput: no prompts.
    """
    if not query.prompts:
        raise InvalidInput("prompts is empty; give at least one", param="prompts")
    common = (query.prompts, query.n, query.params, query.options, query.gold)
    ours = await draw_samples(scorer, policy, *common)
    theirs = None if baseline is None else await draw_samples(scorer, baseline, *common)
    responses = [g for s in ours for g in s.responses]
    return PolicyReport(
        curve=over_optimisation_curve(ours, query.params.seed),
        reward_variance=reward_variance(ours),
        mean_tokens=float(np.mean([g.num_tokens for g in responses])),
        ended_rate=float(np.mean([g.finish_reason == "stop" for g in responses])),
        win_rate=None if theirs is None else win_rate(ours, theirs),
        gold_win_rate=None if theirs is None or query.gold is None else win_rate(ours, theirs, gold=True),
        kl=None if baseline is None else await kl_to(policy, baseline, ours, query.params),
    )


def win_rate(ours: Sequence[Samples], theirs: Sequence[Samples], *, gold: bool = False) -> LengthControlled:
    """Share of prompts whose first response has the higher reward, ties half; raw and at equal length.

    Length is in characters, which both sides have whatever their tokenizers.
    """
    margins = [_first(a, gold) - _first(b, gold) for a, b in zip(ours, theirs, strict=True)]
    pairs = zip(ours, theirs, strict=True)
    lengths = [len(a.responses[0].text) - len(b.responses[0].text) for a, b in pairs]
    return length_controlled_win_rate((np.sign(margins) + 1) / 2, lengths, range(len(margins)))


async def kl_to(
    policy: Policy, reference: Policy, samples: Sequence[Samples], params: SamplingParams
) -> Kl | None:
    """The KL, or None where a side tells no log-probabilities or the samples are not the policy's own.

    Both sides must share a tokenizer. Responses are read back from their text, which gives the tokens that
    were sampled except where a text can be spelt in several ways or a special token was left out of it.
    """
    own = params.temperature == 1.0 and params.top_p == 1.0
    if not (own and isinstance(policy, LogProbs) and isinstance(reference, LogProbs)):
        return None
    k1, k3, clusters = [], [], []
    for i, s in enumerate(samples):
        mine = await policy.logprobs(s.prompt, s.responses)
        others = await reference.logprobs(s.prompt, s.responses)
        for p, q in zip(mine, others, strict=True):
            k1.append(float((p - q).sum()))
            k3.append(float((np.expm1(q - p) - (q - p)).sum()))
            clusters.append(i)
    return Kl(clustered_bootstrap(k1, clusters, params.seed), clustered_bootstrap(k3, clusters, params.seed))


def _first(samples: Samples, gold: bool) -> float:
    values = samples.gold if gold else samples.rewards
    assert values is not None, "gold was asked for"
    return float(values[0])
