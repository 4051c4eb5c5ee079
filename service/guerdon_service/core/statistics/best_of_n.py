"""What drawing n samples and keeping the best does to a policy.

Beirami et al., "Theoretical guarantees on the best-of-n alignment policy" (arXiv 2401.01879).
"""

from math import exp, expm1, log, log1p

import numpy as np
from numpy.typing import ArrayLike

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.arrays import Floats, Ints, floats, shares


def kl_upper_bound(n: int) -> float:
    """log n - (n - 1) / n, in nats: at least KL(best-of-n || base), which it equals if no sample repeats."""
    _check(n)
    return log(n) - (n - 1) / n


def expected_win_rate_bound(n: int) -> float:
    """n / (n + 1): at most this is P(best of n beats one base sample) + P(tie) / 2."""
    _check(n)
    return n / (n + 1)


def kl_estimate(n: int, probability: float) -> float:
    """Beirami's estimate of the KL from the base probability of the answer that was selected, in nats.

    Between 0, for an answer that is certain, and `kl_upper_bound`, for one that never repeats. Its mean over
    selected answers lies between the KL and that bound.

    Args:
        probability: of the selected answer under the base policy, 0 <= p <= 1; its log-probability,
            exponentiated, may underflow to 0.

    Raises:
        InvalidInput: an argument out of its range.
    """
    _check(n)
    if not 0.0 <= probability <= 1.0:
        raise InvalidInput(f"probability of {probability} must lie between 0 and 1", param="probability")
    if probability in (0.0, 1.0):
        return kl_upper_bound(n) if probability == 0.0 else 0.0
    missed = n * log1p(-probability)  # log of the chance that n samples all differ from it
    seen = -expm1(missed)
    unique = kl_upper_bound(n) + (n - 1) * log1p(-probability)
    return exp(missed) * unique + seen * log(seen / probability)


def best_of_n_mean(proxy: ArrayLike, gold: ArrayLike, n: int) -> float:
    """Expected gold reward of the sample with the best proxy among n, from N >= n samples of one prompt.

    Unbiased, with the least variance: the mean over all subsets of n (Nakano et al., arXiv 2112.09332,
    appendix I), ties of the proxy broken evenly.

    Args:
        proxy, gold: float64 [N].

    Raises:
        InvalidInput: lengths differ, or fewer than n samples.
    """
    _check(n)
    scores = floats(proxy, "proxy")
    values = floats(gold, "gold", size=len(scores))
    if len(scores) < n:
        raise InvalidInput(f"n of {n} needs as many samples; got {len(scores)}", param="n")
    levels, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    means = np.bincount(inverse, weights=values, minlength=len(levels)) / counts
    upto = _subsets_below(np.cumsum(counts).astype(np.int64), len(scores), n)
    return float(np.diff(upto, prepend=0.0) @ means)


def selection_distribution(probabilities: ArrayLike, rewards: ArrayLike, n: int) -> Floats:
    """Exact distribution of the best of n independent samples of a policy over K answers.

    Ties of the reward are broken evenly among the samples.

    Args:
        probabilities: float64 [K], summing to one. rewards: float64 [K].

    Returns:
        float64 [K].

    Raises:
        InvalidInput: lengths differ, or the probabilities do not sum to one.
    """
    _check(n)
    p = shares(probabilities, "probabilities")
    scores = floats(rewards, "rewards", size=len(p))
    if abs(p.sum() - 1.0) > 1e-9:
        raise InvalidInput(f"probabilities sum to {p.sum():.6g}; they must sum to 1", param="probabilities")
    inverse = np.unique(scores, return_inverse=True)[1]
    mass = np.bincount(inverse, weights=p)
    upto = np.minimum(np.cumsum(mass), 1.0) ** n
    best = np.diff(upto, prepend=0.0)  # the best sample's reward is at this level
    within = np.divide(p, mass[inverse], out=np.zeros_like(p), where=mass[inverse] > 0.0)
    return np.asarray(best[inverse] * within)


def kl_divergence(selected: ArrayLike, base: ArrayLike) -> float:
    """KL(selected || base) of two distributions over the same answers, in nats.

    Raises:
        InvalidInput: lengths differ, or `selected` holds an answer that `base` never gives.
    """
    q = shares(selected, "selected")
    p = shares(base, "base", size=len(q))
    kept = q > 0.0
    if (p[kept] == 0.0).any():
        raise InvalidInput("selected gives mass to an answer that base never gives", param="base")
    return float((q[kept] * np.log(q[kept] / p[kept])).sum())


def _subsets_below(ranks: Ints, num: int, n: int) -> Floats:
    """C(rank, n) / C(num, n) for each rank: the share of subsets of n that lie within the lowest `rank`."""
    falling = np.arange(num, n, -1)
    ratios = np.concatenate([np.zeros(n), np.cumprod((falling - n) / falling)[::-1], [1.0]])
    return np.asarray(ratios[ranks])


def _check(n: int) -> None:
    if n < 1:
        raise InvalidInput(f"n of {n} must be at least 1", param="n")
