"""Over a policy with a known distribution, what is chosen is what the mathematics says; bounds are bounds."""

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from guerdon_service.bestofn.choose import choose
from guerdon_service.core.best_of_n import ScoredCandidate
from guerdon_service.core.generation import Generated
from guerdon_service.core.result import Score
from guerdon_service.core.statistics.best_of_n import (
    expected_win_rate_bound,
    kl_divergence,
    kl_upper_bound,
    selection_distribution,
)
from tests.bestofn.fakes import Categorical, best_of_n, query
from tests.bestofn.test_service import rewards
from tests.fakes import running_service

ANSWERS = ("a", "c", "d", "b", "e")
BASE = (0.3, 0.25, 0.2, 0.2, 0.05)


def candidates(values: Sequence[float], stds: Sequence[float] | None = None) -> list[ScoredCandidate]:
    """Candidate i says i."""
    return [
        ScoredCandidate(Generated(i, str(i), 1, "stop"), Score(v, {}, {}, (s,), 1, False, False))
        for i, (v, s) in enumerate(zip(values, stds or [0.0] * len(values), strict=True))
    ]


@pytest.mark.parametrize("n", [1, 2, 4])
async def test_selection_frequencies_win_rate_and_kl_are_the_exact_ones(n: int) -> None:
    """Through the whole service; 600 seeds."""
    count = 600
    async with running_service() as scorer:
        service = best_of_n(scorer, Categorical(ANSWERS, BASE))
        values = await rewards(scorer, *ANSWERS)
        results = [await service.run(query(n, seed=seed)) for seed in range(count)]
    chosen = [ANSWERS.index(r.candidates[r.best or 0].generated.text) for r in results]
    exact = selection_distribution(BASE, values, n)
    found = np.bincount(chosen, minlength=len(BASE))
    assert stats.chisquare(found, exact * count).pvalue > 0.001
    wins = win_rates(np.asarray(values))[chosen]
    error = wins.std() / np.sqrt(count)
    assert wins.mean() == pytest.approx(float(win_rates(np.asarray(values)) @ exact), abs=4 * error + 1e-12)
    assert wins.mean() <= results[0].expected_win_rate + 4 * error
    kl = float(np.sum(found / count * np.log(np.maximum(found, 1) / count / np.asarray(BASE))))
    bias = (len(BASE) - 1) / count  # of the plug-in estimate, in either direction, with its error
    assert kl == pytest.approx(kl_divergence(exact, BASE), abs=10 * bias)
    assert results[0].kl_upper_bound == kl_upper_bound(n)
    assert results[0].expected_win_rate == expected_win_rate_bound(n)


def win_rates(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(answer k beats one base sample), ties half."""
    base = np.asarray(BASE)
    return np.array([base[values < v].sum() + base[values == v].sum() / 2 for v in values])


DISTRIBUTIONS = st.lists(st.floats(0.01, 1.0), min_size=2, max_size=8)


@given(DISTRIBUTIONS, st.data(), st.integers(1, 6), st.sampled_from([0.0, 0.1, 0.5, 3.0]))
def test_no_choice_ever_exceeds_the_bounds(
    weights: list[float], data: st.DataObject, n: int, temperature: float
) -> None:
    """Exact enumeration of soft best-of-n for n <= 2, of best-of-n for all; ties and duplicates included."""
    base = np.asarray(weights) / np.sum(weights)
    values = np.asarray(data.draw(st.lists(st.integers(0, 3), min_size=len(base), max_size=len(base))), float)
    if n == 2 and temperature > 0.0:
        pick = np.exp(values / temperature)
        share = pick[:, None] / (pick[:, None] + pick[None, :])
        chosen = base * (share @ base) * 2
    else:
        chosen = selection_distribution(base, values, n)
    wins = np.array([base[values < v].sum() + base[values == v].sum() / 2 for v in values])
    assert chosen.sum() == pytest.approx(1.0)
    assert kl_divergence(chosen / chosen.sum(), base) <= kl_upper_bound(n) + 1e-9
    assert float(wins @ chosen) <= expected_win_rate_bound(n) + 1e-9


def test_even_the_worst_choice_by_arrival_keeps_to_the_bound_of_n_asked() -> None:
    """The first to arrive of 16 is the shortest of 16: best-of-16 by length. The bound of one would be 0."""
    base = np.full(200, 1 / 200)
    shortest = selection_distribution(base, -np.arange(200), 16)
    assert kl_upper_bound(1) < kl_divergence(shortest, base) <= kl_upper_bound(16)


def test_the_conservative_choice_is_mean_less_k_std() -> None:
    found = candidates([1.0, 1.2, 0.9], [0.1, 0.9, 0.0])
    assert [choose(found, query(3, conservatism=k)) for k in (0.0, 0.5, 2.0)] == [1, 0, 2]


def test_of_equal_values_the_first_is_chosen() -> None:
    assert choose(candidates([0.0, 1.0, 1.0])[::-1], query(3)) == 1


def test_soft_choices_follow_exp_of_reward_over_temperature() -> None:
    """Chi-square over seeds; a text that was drawn twice counts twice."""
    found, count = candidates([0.0, 0.5, 1.0, 1.0]), 4000
    asked = [query(4, seed=seed, choice_temperature=0.5) for seed in range(count)]
    chosen = np.bincount([choose(found, q) or 0 for q in asked], minlength=4)
    weights = np.exp(np.array([0.0, 1.0, 2.0, 2.0]))
    assert stats.chisquare(chosen, weights / weights.sum() * count).pvalue > 0.001
    assert choose(found, asked[0]) == choose(found[::-1], asked[0])


def test_a_cold_soft_choice_is_the_hard_one_and_large_rewards_do_not_overflow() -> None:
    assert choose(candidates([1e6, -1e6, 0.0]), query(3, choice_temperature=1e-3)) == 0


async def test_patience_stops_no_more_often_than_its_rule_says() -> None:
    """Of runs that stopped after k candidates, the next one would have won in at most 1 / (k + 1) of them."""
    n, patience, count = 8, 2, 300
    rng = np.random.default_rng(0)
    answers = [chr(97 + i) for i in range(26)]
    async with running_service() as scorer:
        values = dict(zip(answers, await rewards(scorer, *answers), strict=True))
        service = best_of_n(scorer, Categorical(answers, [1 / 26] * 26))
        results = await asyncio.gather(
            *(service.run(query(n, seed=int(s), patience=patience)) for s in rng.integers(0, 2**31, count))
        )
    stopped = [r for r in results if r.stopped_early]
    assert len(stopped) > count / 4
    best = np.array([max(values[c.generated.text] for c in r.candidates) for r in stopped])
    sizes = np.array([len(r.candidates) for r in stopped])
    assert sizes.min() == patience + 1
    chances = np.array([np.mean([v > b for v in values.values()]) for b in best])
    limit = (1 / (sizes + 1)).mean()
    assert chances.mean() <= limit + 4 * chances.std() / np.sqrt(len(stopped))
