"""The gate's latency check: what a busy machine does is told from what the candidate does."""

from dataclasses import replace

import pytest
from scipy import stats

from guerdon_service.registry.evidence import Latency
from tests.registry.test_gate import good, rounds, told


def test_a_difference_that_the_machine_makes_is_not_latency() -> None:
    check = told(replace(good(), latency=rounds(0.0019, 0.0001)))["latency"]
    assert check.passed and "certain" not in check.detail


@pytest.mark.parametrize(("lowest", "passes"), [(1.5, True), (1.5 + 1e-9, False)])
def test_latency_refuses_only_where_the_lower_bound_is_above_its_limit(lowest: float, passes: bool) -> None:
    """Of twenty rounds the sixth smallest is the bound: fewer than six lie below the median in 2.1 %."""
    assert stats.binom.cdf(5, 20, 0.5) < 0.025 < stats.binom.cdf(6, 20, 0.5)
    ratios = (0.5,) * 5 + (lowest,) + (3.0,) * 14
    check = told(replace(good(), latency=Latency(ratios, (1.0,) * 20)))["latency"]
    assert check.passed is passes
    assert (
        "3.00 times the incumbent's [1.50, 3.00], median and 95 % interval of 20 paired rounds"
        in check.detail
    )
    assert ("not certain" in check.detail) is passes


def test_a_busy_machine_passes_and_says_that_it_is_not_certain() -> None:
    for spread, is_certain in ((0.1, True), (0.9, False)):
        check = told(replace(good(), latency=rounds(0.0125, 0.010, spread)))["latency"]
        assert check.passed and ("not certain" not in check.detail) is is_certain, check.detail


def test_a_few_rounds_that_the_machine_slowed_do_not_move_latency() -> None:
    ours, theirs = [0.011] * 20, [0.010] * 20
    ours[3:8] = [0.9] * 5
    check = told(replace(good(), latency=Latency(tuple(ours), tuple(theirs))))["latency"]
    assert check.passed and check.detail.startswith("1.10 times the incumbent's [1.10, 1.10]")
