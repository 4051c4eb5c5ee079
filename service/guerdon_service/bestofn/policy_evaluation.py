"""What a policy's samples say: its rewards, against a baseline, and under best-of-n. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guerdon_service.bestofn.both_orders import BothOrders, position_bias
from guerdon_service.bestofn.over_optimisation import mean_change, over_optimisation_curve, reward_variance
from guerdon_service.bestofn.samples import Samples
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.policy_evaluation import JudgedWinRate, Kl, PolicyReport, WinRate
from guerdon_service.core.statistics.arrays import Floats
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.length_controlled import length_controlled_win_rate


@dataclass(frozen=True, slots=True)
class Judged:
    """What a judge said of each prompt's two first responses; None where it named neither or refused.

    A response that has no reward lost without being asked about: `num_asked` counts the others.
    """

    answers: tuple[BothOrders | None, ...]
    num_asked: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that one policy's report is made of; None where it was not asked for."""

    policy: str
    digest: str
    samples: Sequence[Samples]
    baseline: Sequence[Samples] | None
    judged: Judged | None
    kl: Kl | None
    kl_absent: str


def check_scored(policy: str, samples: Sequence[Samples]) -> None:
    """Refuse samples that nothing can be said of.

    Raises:
        InvalidInput: no response has a reward.
    """
    if not any(s.responses for s in samples):
        raise InvalidInput(
            f"every response of policy {policy} is empty or too long for the reward model; "
            "change max_tokens or the prompts",
            param="policies",
        )


def policy_report(evidence: Evidence, seed: int = 0) -> PolicyReport:
    """The figures. Intervals resample prompts, equal ones together; see `check_scored` first."""
    samples, theirs = evidence.samples, evidence.baseline
    responses = [g for s in samples for g in s.responses]
    has_gold = samples[0].gold is not None
    tokens = [g.num_tokens for g in responses]
    num_unscored = sum(s.num_unscored for s in samples)
    return PolicyReport(
        policy=evidence.policy,
        digest=evidence.digest,
        reward=mean_reward(samples, seed),
        gold_reward=mean_reward(samples, seed, gold=True) if has_gold else None,
        reward_variance=reward_variance(samples),
        mean_chars=float(np.mean([len(g.text) for g in responses])),
        mean_tokens=float(np.mean(tokens)) if all(tokens) else None,
        ended_rate=float(np.mean([g.finish_reason == "stop" for g in responses])),
        unscored_rate=num_unscored / (num_unscored + len(responses)),
        win_rate=None if theirs is None else win_rate(samples, theirs),
        gold_win_rate=None if theirs is None or not has_gold else win_rate(samples, theirs, gold=True),
        judged=None
        if theirs is None or evidence.judged is None
        else judged_win_rate(samples, theirs, evidence.judged, seed),
        kl=evidence.kl,
        kl_absent=evidence.kl_absent,
        best_of_n=over_optimisation_curve(samples, seed),
        reward_gain=None if theirs is None else mean_change(theirs, samples, seed),
        gold_gain=None if theirs is None else mean_change(theirs, samples, seed, gold=True),
    )


def mean_reward(samples: Sequence[Samples], seed: int = 0, *, gold: bool = False) -> Interval:
    """Mean over prompts of the mean over responses; prompts without a scored response are left out."""
    kept = [s for s in samples if s.responses]
    means = [float(_values(s, gold).mean()) for s in kept]
    return clustered_bootstrap(means, [s.prompt for s in kept], seed)


def win_rate(ours: Sequence[Samples], theirs: Sequence[Samples], *, gold: bool = False) -> WinRate:
    """Share of prompts whose first response has the higher reward, ties half; raw and at equal length.

    A response without a reward loses against one that has. Length is in characters, which both sides have
    whatever their tokenizers.
    """
    pairs = list(zip(ours, theirs, strict=True))
    margins = np.array([_order(_first(a, gold), _first(b, gold)) for a, b in pairs])
    return _controlled((margins + 1) / 2, pairs)


def judged_win_rate(
    ours: Sequence[Samples], theirs: Sequence[Samples], judged: Judged, seed: int = 0
) -> JudgedWinRate:
    """Win rate by a judge, and how far the order of the two decided."""
    pairs, shares, answers, prompts = [], [], [], []
    for a, b, answer in zip(ours, theirs, judged.answers, strict=True):
        if a.first is None or b.first is None:
            shares.append((_order(_rank(a), _rank(b)) + 1) / 2)
        elif answer is not None:
            shares.append(answer.p_a)
            answers.append(answer)
            prompts.append(a.prompt)
        else:
            continue
        pairs.append((a, b))
    bias = position_bias(answers, prompts, seed) if answers else None
    return JudgedWinRate(
        win_rate=_controlled(np.array(shares), pairs) if pairs else None,
        flip_rate=None if bias is None else bias.flip_rate,
        position_effect=None if bias is None else bias.position_effect,
        num_asked=judged.num_asked,
        num_undecided=judged.num_asked - len(answers),
    )


def _controlled(shares: Floats, pairs: Sequence[tuple[Samples, Samples]]) -> WinRate:
    lengths = [len(a.first or "") - len(b.first or "") for a, b in pairs]
    found = length_controlled_win_rate(shares, lengths, [a.prompt for a, _ in pairs])
    return WinRate(found.raw, found.win_rate, found.length_effect)


def _first(samples: Samples, gold: bool) -> float:
    return -np.inf if samples.first is None else float(_values(samples, gold)[0])


def _rank(samples: Samples) -> float:
    return 0.0 if samples.first is None else 1.0


def _order(a: float, b: float) -> float:
    return float(a > b) - float(a < b)


def _values(samples: Samples, gold: bool) -> Floats:
    values = samples.gold if gold else samples.rewards
    assert values is not None, "gold was asked for"
    return values
