"""How reward grows, by the model that chooses or trains and by one that it never sees. Pure."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from guerdon_service.bestofn.samples import Samples
from guerdon_service.core.policy_evaluation import CurveRow, OverOptimisationPoint, PolicyReport
from guerdon_service.core.statistics.arrays import Floats
from guerdon_service.core.statistics.best_of_n import best_of_n_mean, kl_upper_bound
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.interval import Interval

MIN_PROMPTS = 6
"""Fewer distinct prompts that all moved one way are no evidence at 5 %, two-sided (sign test), however narrow
the bootstrap of so few is."""


def over_optimisation_curve(samples: Sequence[Samples], seed: int = 0) -> tuple[CurveRow, ...]:
    """Rows for n = 1, 2, 4, ... as far as every prompt has samples.

    Expectations over all subsets of n, not one draw of them (`best_of_n_mean`).
    """
    most = min((len(s.responses) for s in samples), default=0)
    prompts = [s.prompt for s in samples]
    first = _chosen(samples, 1) if most else None
    rows = []
    for n in (2**k for k in range(most.bit_length())):
        gold = _chosen(samples, n)
        proxy = np.array([best_of_n_mean(s.rewards, s.rewards, n) for s in samples])
        rows.append(
            CurveRow(
                n,
                kl_upper_bound(n),
                clustered_bootstrap(proxy, prompts, seed),
                None if gold is None else clustered_bootstrap(gold, prompts, seed),
                None if gold is None or first is None else clustered_bootstrap(gold - first, prompts, seed),
            )
        )
    return tuple(rows)


def over_optimisation_points(
    reports: Sequence[PolicyReport], samples: Sequence[Sequence[Samples]], seed: int = 0
) -> tuple[OverOptimisationPoint, ...]:
    """Checkpoints with the change of both rewards from each to the next, paired by prompt.

    Args:
        reports, samples: of each policy, on the same prompts.
    """
    order = list(range(len(reports)))
    if all(report.kl is not None for report in reports):
        order.sort(key=lambda i: reports[i].kl.k1.value)  # type: ignore[union-attr]
    points = [_point(reports[order[0]], None, None, enough=False)] if order else []
    for before, now in pairwise(order):
        proxy = mean_change(samples[before], samples[now], seed)
        gold = mean_change(samples[before], samples[now], seed, gold=True)
        enough = _num_prompts(samples[before], samples[now]) >= MIN_PROMPTS
        points.append(_point(reports[now], proxy, gold, enough=enough))
    return tuple(points)


def mean_change(
    before: Sequence[Samples], now: Sequence[Samples], seed: int = 0, *, gold: bool = False
) -> Interval | None:
    """Change of the mean reward, over prompts where both have one; None without a gold model or prompts."""
    pairs = [(b, n) for b, n in zip(before, now, strict=True) if b.responses and n.responses]
    if not pairs or (gold and pairs[0][0].gold is None):
        return None
    changes = [_mean(n, gold) - _mean(b, gold) for b, n in pairs]
    return clustered_bootstrap(changes, [b.prompt for b, _ in pairs], seed)


def reward_variance(samples: Sequence[Samples]) -> float:
    """Variance of the reward among responses to one prompt, averaged over prompts with two or more.

    Low, a policy learns slowly from the reward however accurate that is (Razin et al., arXiv 2503.15477).
    """
    variances = [float(s.rewards.var(ddof=1)) for s in samples if len(s.rewards) > 1]
    return float(np.mean(variances)) if variances else 0.0


def _point(
    report: PolicyReport, proxy: Interval | None, gold: Interval | None, *, enough: bool
) -> OverOptimisationPoint:
    return OverOptimisationPoint(
        policy=report.policy,
        kl=None if report.kl is None else report.kl.k1,
        proxy=report.reward,
        gold=report.gold_reward,
        proxy_change=proxy,
        gold_change=gold,
        over_optimised=enough and proxy is not None and gold is not None and proxy.low > 0.0 > gold.high,
    )


def _num_prompts(before: Sequence[Samples], now: Sequence[Samples]) -> int:
    """Distinct prompts that `mean_change` is over."""
    return len({b.prompt for b, n in zip(before, now, strict=True) if b.responses and n.responses})


def _mean(samples: Samples, gold: bool) -> float:
    values = samples.gold if gold else samples.rewards
    assert values is not None, "gold was asked for"
    return float(values.mean())


def _chosen(samples: Sequence[Samples], n: int) -> Floats | None:
    """Expected gold reward of each prompt's best of n by the proxy, float64 [num_prompts]."""
    found = [None if s.gold is None else best_of_n_mean(s.rewards, s.gold, n) for s in samples]
    return None if None in found else np.array(found, dtype=np.float64)
