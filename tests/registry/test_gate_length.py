"""The gate on rewards that follow length: what it makes of a report; how often it is wrong, by simulation."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.length_correlation import length_rise
from guerdon_service.registry.checks.length import correlation
from guerdon_service.registry.evidence import Evidence
from tests.registry.test_gate import POLICY, changed_report, told

NUM_SAMPLES = 600
"""They leave an error of 0.7 points where 3 % are refused."""


def risen(rise: Interval) -> Evidence:
    found = {"value": rise.value, "low": rise.low, "high": rise.high}
    return changed_report(lambda r: r.update(length_rise=found))


@pytest.mark.parametrize(
    ("rise", "passes"),
    [
        (Interval(0.3, 0.01, 0.6), False),
        (Interval(0.3, -0.01, 0.6), True),  # not shown
        (Interval(0.049, 0.04, 0.058), True),  # allowed
        (Interval(-0.3, -0.4, -0.2), True),
    ],
)
def test_a_rise_is_refused_where_it_is_shown_and_not_allowed(rise: Interval, passes: bool) -> None:
    check = told(risen(rise))["length correlation"]
    assert check.passed is passes
    assert f"{rise.value:+.3f} [{rise.low:+.3f}, {rise.high:+.3f}]" in check.detail


def test_a_report_without_pairs_is_not_asked() -> None:
    assert told(changed_report(lambda r: r.update(length_rise=None)))["length correlation"].passed is None


@pytest.mark.parametrize(("ours", "passes"), [(-0.32, True), (-0.34, False)])
def test_a_report_from_before_the_interval_is_read_as_it_was(ours: float, passes: bool) -> None:
    def older(report: dict[str, Any]) -> None:
        del report["length_rise"]
        report["candidate"]["length"]["correlation"] = ours
        report["baseline"]["length"] = {"correlation": 0.28}

    assert told(changed_report(older))["length correlation"].passed is passes


@pytest.mark.parametrize(("follows", "per_prompt"), [(0.3, 1), (0.3, 4), (0.7, 1)])
def test_few_equal_models_are_refused_on_fifty_prompts(follows: float, per_prompt: int) -> None:
    """By the rise alone 11 to 41 % are."""
    found = [_compared(seed, follows, follows, per_prompt) for seed in range(NUM_SAMPLES)]
    assert np.mean([i.low <= 0.0 <= i.high for i in found]) >= 0.93
    assert np.mean([correlation(risen(i), POLICY).passed is False for i in found]) <= 0.05
    assert np.mean([i.value > POLICY.max_length_rise for i in found]) >= 0.1


def test_a_model_that_follows_length_more_is_refused() -> None:
    """Its rank correlation is 0.8 for 0.6, on 200 pairs of 50 prompts."""
    found = [_compared(seed, 0.8, 0.6, 4) for seed in range(50)]
    assert np.mean([correlation(risen(i), POLICY).passed is False for i in found]) > 0.9


def _compared(seed: int, ours: float, theirs: float, per_prompt: int) -> Interval:
    """Margins of two models that follow the rank of length so far; half of what else they see they share."""
    generator = np.random.default_rng(seed)
    prompts = np.repeat(np.arange(50), per_prompt)
    shorter, longer = np.exp(generator.normal(5, 1, (2, len(prompts))))
    lengths = np.round(longer - shorter)
    z = stats.norm.ppf(stats.rankdata(lengths) / (len(lengths) + 1))
    seen = (generator.normal(size=(3, len(prompts))) + generator.normal(size=(3, 50))[:, prompts]) / 2
    first, second = (
        follows * z + np.sqrt(1 - follows**2) * (seen[0] + own)
        for follows, own in ((ours, seen[1]), (theirs, seen[2]))
    )
    return length_rise(first, second, lengths, prompts)
