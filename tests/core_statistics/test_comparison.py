"""The verdict: its level and its power, exactly for independent pairs and by simulation for clusters."""

from collections.abc import Callable, Iterator
from importlib import import_module
from math import sqrt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.comparison import PairedComparison, compare_paired
from guerdon_service.core.statistics.holm import holm
from guerdon_service.core.statistics.mcnemar import mcnemar
from guerdon_service.core.statistics.paired_mean import PairedMean, paired_mean
from guerdon_service.core.statistics.power import minimum_detectable_effect, paired_power

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
LEVEL = 0.025  # of each one-sided test, at the default alpha of 0.05
ROUNDS = 1500  # at a true rate of 5 % the Monte Carlo error is 0.56 points

values = st.sampled_from([0.0, 0.5, 1.0])
items = st.lists(st.tuples(values, values, st.integers(0, 8)), min_size=2, max_size=60)


def _chance(n: int, win: float, loss: float, size: int = 1) -> Iterator[tuple[float, PairedMean]]:
    """Every outcome of n independent prompts with its probability, but for the rarest; the `size` items of a
    prompt are alike.
    """
    codes = np.repeat(np.arange(n), size)
    for wins in range(n + 1):
        of_wins = float(stats.binom.pmf(wins, n, win))
        if of_wins < 1e-7:
            continue
        losses = np.arange(n - wins + 1)
        of_losses = of_wins * stats.binom.pmf(losses, n - wins, loss / (1 - win))
        for k in losses[of_losses > 1e-7].tolist():
            differences = np.concatenate([np.ones(wins), -np.ones(k), np.zeros(n - wins - k)])
            yield float(of_losses[k]), paired_mean(np.repeat(differences, size), codes)


def _rejected(n: int, discordance: float, delta: float, null: float, size: int = 1) -> float:
    win, loss = (discordance + delta) / 2, (discordance - delta) / 2
    return sum(chance for chance, mean in _chance(n, win, loss, size) if mean.tail(null) < LEVEL)


@pytest.mark.parametrize("n", [60, 150])
@pytest.mark.parametrize("discordance", [0.05, 0.2])
def test_exact_level_of_independent_pairs(n: int, discordance: float) -> None:
    assert _rejected(n, discordance, 0.0, 0.0) <= 0.03
    for margin in (0.02, 0.049):  # the second: the candidate loses, and hardly ever wins
        assert _rejected(n, discordance, -margin, -margin) <= 0.04


@pytest.mark.parametrize(("n", "discordance"), [(150, 0.2), (150, 0.4), (200, 0.1)])
def test_exact_power_is_within_three_points_of_theory(n: int, discordance: float) -> None:
    effect = minimum_detectable_effect(discordance, n)
    assert _rejected(n, discordance, effect, 0.0) == pytest.approx(0.8, abs=0.03)
    margin = effect / sqrt(1 - effect**2 / discordance)  # the variance at no difference is the larger
    assert _rejected(n, discordance, 0.0, -margin) == pytest.approx(0.8, abs=0.03)


def _independent(generator: np.random.Generator, codes: Ints) -> Floats:
    return generator.random(len(codes))


def _together(generator: np.random.Generator, codes: Ints) -> Floats:
    return generator.random(int(codes.max()) + 1)[codes]


def _mixed(generator: np.random.Generator, codes: Ints) -> Floats:
    alone = generator.random(len(codes)) < 0.5
    return np.where(alone, _independent(generator, codes), _together(generator, codes))


Dependence = Callable[[np.random.Generator, Ints], Floats]


def _clustered(
    generator: np.random.Generator, num: int, dependence: Dependence, discordance: float, delta: float
) -> tuple[Floats, Ints]:
    """Differences of prompts of 1 to many items, geometric sizes of mean 4."""
    codes = np.repeat(np.arange(num), generator.geometric(0.25, num))
    u = dependence(generator, codes)
    win = (discordance + delta) / 2
    return np.where(u < win, 1.0, np.where(u < discordance, -1.0, 0.0)), codes


@pytest.mark.parametrize("dependence", [_independent, _mixed, _together])
@pytest.mark.parametrize("num", [30, 150])
def test_level_when_items_of_a_prompt_are_dependent(dependence: Dependence, num: int) -> None:
    generator = np.random.default_rng(0)
    for delta, null in ((0.0, 0.0), (-0.03, -0.03)):
        drawn = [_clustered(generator, num, dependence, 0.2, delta) for _ in range(ROUNDS)]
        rate = np.mean([paired_mean(*d).tail(null) < LEVEL for d in drawn])
        assert rate <= 0.05


def test_level_when_few_prompts_differ_and_each_of_them_altogether() -> None:
    """60 prompts of which 3 differ, mostly for the worse: three sizes don't tell how large one can be."""
    generator = np.random.default_rng(8)
    drawn = [_clustered(generator, 60, _together, 0.05, -0.049) for _ in range(ROUNDS)]
    assert np.mean([paired_mean(*d).tail(-0.049) < LEVEL for d in drawn]) <= 0.05


def test_ignoring_the_prompts_would_promote_falsely() -> None:
    """What the clusters are for: the same data, prompts unknown."""
    generator = np.random.default_rng(1)
    drawn = [_clustered(generator, 150, _together, 0.2, 0.0)[0] for _ in range(ROUNDS)]
    assert np.mean([paired_mean(d, np.arange(len(d))).tail(0.0) < LEVEL for d in drawn]) > 0.1


@pytest.mark.parametrize(("num", "discordance"), [(150, 0.2), (200, 0.1)])
def test_exact_power_of_prompts_whose_items_are_alike_is_that_of_their_number(
    num: int, discordance: float
) -> None:
    effect = minimum_detectable_effect(discordance, num)
    assert _rejected(num, discordance, effect, 0.0, size=4) == pytest.approx(0.8, abs=0.03)


def test_power_with_dependent_items_is_within_three_points_of_that_of_their_effective_number() -> None:
    """Two items of a prompt share their draw with probability 1/4, which is their correlation: 4 of them
    count as 4 / (1 + 3 / 4). Rounds of 10,000 leave an error of 0.4 points.
    """
    generator, codes = np.random.default_rng(2), np.repeat(np.arange(150), 4)
    num = len(codes) / 1.75
    effect, found = minimum_detectable_effect(0.2, num), 0
    for _ in range(10_000):
        u = _mixed(generator, codes)
        d = np.where(u < (0.2 + effect) / 2, 1.0, np.where(u < 0.2, -1.0, 0.0))
        found += paired_mean(d, codes).tail(0.0) < LEVEL
    assert found / 10_000 == pytest.approx(paired_power(0.2, effect, num), abs=0.03)


@settings(max_examples=150, deadline=None)
@given(items, st.sampled_from([0.0, 0.02, 0.2]), st.sampled_from([0.05, 0.2]))
def test_verdict_follows_from_the_interval(
    rows: list[tuple[float, float, int]], margin: float, alpha: float
) -> None:
    candidate, baseline, clusters = zip(*rows, strict=True)
    found = compare_paired(candidate, baseline, clusters, margin=margin, alpha=alpha)
    if found.delta.low > 1e-12:
        assert found.verdict == "better"
    elif found.delta.low > -margin + 1e-12:
        assert found.verdict == "not worse"
    elif found.delta.high < -1e-12 and found.delta.low < -margin - 1e-12:
        assert found.verdict == "worse"
    elif abs(found.delta.low) > 1e-9 and abs(found.delta.high) > 1e-9:
        assert found.verdict == "inconclusive"
    assert -1.0 <= found.delta.low <= found.delta.value <= found.delta.high <= 1.0


@settings(max_examples=60, deadline=None)
@given(items)
def test_swapping_the_sides_mirrors_the_result(rows: list[tuple[float, float, int]]) -> None:
    candidate, baseline, clusters = zip(*rows, strict=True)
    one = compare_paired(candidate, baseline, clusters, margin=0.0)
    other = compare_paired(baseline, candidate, clusters, margin=0.0)
    assert (other.delta.value, other.delta.low, other.delta.high) == pytest.approx(
        (-one.delta.value, -one.delta.high, -one.delta.low), abs=1e-12
    )
    assert (one.p_better, one.p_worse) == pytest.approx((other.p_worse, other.p_better), abs=1e-12)
    assert one.mid_p == other.mid_p


def _coins(generator: np.random.Generator, accuracy: float, num: int) -> Floats:
    return (generator.random(num) < accuracy).astype(np.float64)


def _example(delta: float, num: int = 4000) -> PairedComparison:
    generator = np.random.default_rng(3)
    return compare_paired(
        _coins(generator, 0.7 + delta, num), _coins(generator, 0.7, num), range(num), margin=0.03
    )


@pytest.mark.parametrize(
    ("delta", "num", "verdict"),
    [(0.1, 4000, "better"), (0.0, 8000, "not worse"), (-0.1, 4000, "worse"), (0.0, 100, "inconclusive")],
)
def test_each_verdict(delta: float, num: int, verdict: str) -> None:
    assert _example(delta, num).verdict == verdict


def test_the_interval_of_many_independent_pairs_is_the_textbook_one() -> None:
    found = _example(0.02)
    assert found.delta.value == pytest.approx(found.candidate - found.baseline)
    half = 1.96 * sqrt((found.discordance - found.delta.value**2) / found.num_items)
    assert (found.delta.high - found.delta.low) / 2 == pytest.approx(half, rel=5e-3)
    assert found.minimum_detectable_effect == minimum_detectable_effect(found.discordance, 4000)


def test_the_interval_of_clusters_is_the_cluster_robust_one() -> None:
    generator = np.random.default_rng(4)
    codes = np.repeat(np.arange(400), 5)
    easy = generator.random(400)[codes]
    candidate, baseline = (generator.random((2, 2000)) < easy).astype(np.float64)
    baseline = np.where(generator.random(400)[codes] < 0.3, 0.0, baseline)
    regression: Any = import_module("statsmodels.api").OLS(candidate - baseline, np.ones(2000))
    error = float(regression.fit(cov_type="cluster", cov_kwds={"groups": codes}).bse[0])
    found = compare_paired(candidate, baseline, codes, margin=0.02)
    assert (found.delta.high - found.delta.low) / 2 == pytest.approx(1.966 * error, rel=0.02)
    independent = sqrt((found.discordance - found.delta.value**2) / 2000)
    assert found.design_effect == pytest.approx((error / independent) ** 2, rel=0.03)
    assert found.num_clusters == 400
    mean = paired_mean(candidate - baseline, codes)
    robust = mean.variance - (mean.cluster_size / mean.num_items) ** 2  # less the one more discordant prompt
    assert robust == pytest.approx(error**2, rel=1e-9)


def test_verdict_and_interval_agree_where_so_few_items_could_not_show_a_rare_loss() -> None:
    found = compare_paired(np.ones(5), np.zeros(5), range(5), margin=0.0, alpha=0.008)
    assert (found.verdict, found.delta.low < 0) == ("inconclusive", True)


def test_two_equal_models_are_not_worse_once_there_are_enough_items() -> None:
    """With no difference in n items a loss of 3.8 / n is excluded: the rule of three, at 97.5 %."""
    same = np.ones(400)
    assert compare_paired(same, same, range(400), margin=0.01).verdict == "not worse"
    assert compare_paired(same, same, range(400), margin=0.009).verdict == "inconclusive"
    assert compare_paired(same, same, np.repeat(np.arange(40), 10), margin=0.01).verdict == "inconclusive"


def test_one_prompt_decides_nothing() -> None:
    found = compare_paired(np.ones(50), np.zeros(50), ["a"] * 50, margin=0.5)
    assert (found.verdict, found.delta.low, found.delta.high) == ("inconclusive", -1.0, 1.0)


def test_the_verdict_rests_on_the_tests_whose_level_is_shown_here() -> None:
    differences, codes = _clustered(np.random.default_rng(7), 50, _mixed, 0.3, -0.05)
    found = compare_paired(np.maximum(differences, 0), np.maximum(-differences, 0), codes, margin=0.04)
    mean = paired_mean(differences, codes)
    assert (found.p_better, found.p_not_worse) == (mean.tail(0.0), mean.tail(-0.04))


def test_mid_p_is_mcnemars() -> None:
    candidate, baseline = [1, 1, 1, 1, 0, 0.5], [0, 0, 0, 1, 1, 0.5]
    assert compare_paired(candidate, baseline, range(6), margin=0.1).mid_p == mcnemar(3, 1).mid_p


def test_slices_are_adjusted_by_holm() -> None:
    generator = np.random.default_rng(5)
    candidate, baseline = _coins(generator, 0.72, 3000), _coins(generator, 0.7, 3000)
    candidate[:500] = 1.0
    which = np.arange(3000) // 500
    masks = {f"part {k}": which == k for k in range(6)}
    found = compare_paired(candidate, baseline, range(3000), margin=0.05, slices=masks)
    alone = [compare_paired(candidate[m], baseline[m], range(500), margin=0.05) for m in masks.values()]
    for name in ("p_better", "p_not_worse", "p_worse"):
        expected = holm([getattr(part, name) for part in alone])
        assert [getattr(part, name) for part in found.slices.values()] == pytest.approx(list(expected))
    assert [part.delta for part in found.slices.values()] == [part.delta for part in alone]
    assert found.slices["part 0"].verdict == "better"


def test_among_many_null_slices_hardly_any_is_called_better() -> None:
    generator = np.random.default_rng(6)
    masks = {str(k): np.arange(1200) // 60 == k for k in range(20)}
    called = 0
    for _ in range(60):
        candidate, baseline = _coins(generator, 0.6, 1200), _coins(generator, 0.6, 1200)
        found = compare_paired(candidate, baseline, range(1200), margin=0.0, slices=masks)
        called += any(part.verdict == "better" for part in found.slices.values())
    assert called <= 6  # 2.5 % of 60 is 1.5; unadjusted it would be 24


def test_what_cannot_be_compared_is_refused() -> None:
    one, two = np.ones(4), np.zeros(4)
    with pytest.raises(InvalidInput, match="baseline_correct"):
        compare_paired(one, two[:3], range(4), margin=0.1)
    with pytest.raises(InvalidInput, match="margin"):
        compare_paired(one, two, range(4), margin=-0.1)
    with pytest.raises(InvalidInput, match="slice 'empty'"):
        compare_paired(one, two, range(4), margin=0.1, slices={"empty": [False] * 4})
    with pytest.raises(InvalidInput, match="between 0 and 1"):
        compare_paired(2 * one, two, range(4), margin=0.1)
