"""How reward grows with best-of-n, by the model that chooses and by one that it never sees. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from guerdon_service.bestofn.samples import Samples
from guerdon_service.core.statistics.best_of_n import best_of_n_mean, kl_upper_bound
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.interval import Interval


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


def over_optimisation_curve(samples: Sequence[Samples], seed: int = 0) -> tuple[CurveRow, ...]:
    """Rows for n = 1, 2, 4, ... as far as every prompt has samples.

    Expectations over all subsets of n, not one draw of them (`best_of_n_mean`).

    Raises:
        InvalidInput: no samples.
    """
    most = min((len(s.responses) for s in samples), default=0)
    sizes = [2**k for k in range(most.bit_length())]
    first = _chosen(samples, 1)
    rows = []
    for n in sizes:
        gold = _chosen(samples, n)
        proxy = np.array([best_of_n_mean(s.rewards, s.rewards, n) for s in samples])
        rows.append(
            CurveRow(
                n,
                kl_upper_bound(n),
                _interval(proxy, seed),
                None if gold is None else _interval(gold, seed),
                None if gold is None or first is None else _interval(gold - first, seed),
            )
        )
    return tuple(rows)


def reward_variance(samples: Sequence[Samples]) -> float:
    """Variance of the reward among responses to one prompt, averaged over prompts with two or more.

    Low, a policy learns slowly from the reward however accurate that is (Razin et al., arXiv 2503.15477).
    """
    variances = [float(s.rewards.var(ddof=1)) for s in samples if len(s.rewards) > 1]
    return float(np.mean(variances)) if variances else 0.0


def _chosen(samples: Sequence[Samples], n: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]] | None":
    """Expected gold reward of each prompt's best of n by the proxy, float64 [num_prompts]."""
    found = [None if s.gold is None else best_of_n_mean(s.rewards, s.gold, n) for s in samples]
    return None if None in found else np.array(found, dtype=np.float64)


def _interval(values: "np.ndarray[tuple[int], np.dtype[np.float64]]", seed: int) -> Interval:
    return clustered_bootstrap(values, range(len(values)), seed)
