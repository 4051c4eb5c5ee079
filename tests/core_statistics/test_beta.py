"""Beta, binomial and Student's t against scipy."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from guerdon_service.core.statistics.beta import (
    beta_cdf,
    beta_quantile,
    binomial_cdf,
    student_quantile,
    student_tail,
)
from guerdon_service.core.statistics.normal import normal_cdf, normal_quantile

shapes = st.floats(0.3, 1e5)


@settings(max_examples=200, deadline=None)
@given(u=st.floats(1e-6, 1 - 1e-6), a=shapes, b=shapes)
def test_beta_equals_scipy_in_both_tails(u: float, a: float, b: float) -> None:
    x = float(stats.beta.ppf(u, a, b))
    assert beta_cdf(x, a, b) == pytest.approx(float(stats.beta.cdf(x, a, b)), rel=1e-8, abs=1e-300)


@settings(max_examples=50, deadline=None)
@given(u=st.floats(0.001, 0.999), a=st.floats(0.5, 1e4), b=st.floats(0.5, 1e4))
def test_beta_quantile_inverts_the_distribution(u: float, a: float, b: float) -> None:
    assert beta_quantile(u, a, b) == pytest.approx(float(stats.beta.ppf(u, a, b)), rel=1e-8)


@settings(max_examples=100, deadline=None)
@given(n=st.integers(1, 100_000), share=st.floats(0, 1), rate=st.floats(0.01, 0.99))
def test_binomial_equals_scipy(n: int, share: float, rate: float) -> None:
    k = round(share * n)
    expected = float(stats.binom.cdf(k, n, rate))
    assert binomial_cdf(k, n, rate) == pytest.approx(expected, rel=1e-8, abs=1e-290)


@pytest.mark.parametrize("df", [0.3, 1.0, 2.0, 3.5, 10.0, 1e3, 1e6])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.6, 0.975, 0.9999])
def test_student_equals_scipy(df: float, p: float) -> None:
    t = student_quantile(p, df)
    assert t == pytest.approx(float(stats.t.ppf(p, df)), rel=1e-9, abs=1e-12)
    assert student_tail(t, df) == pytest.approx(1 - p, rel=1e-9)


@pytest.mark.parametrize("x", [-30.0, -3.0, 0.0, 1.5, 8.0])
def test_normal_equals_scipy(x: float) -> None:
    assert normal_cdf(x) == pytest.approx(float(stats.norm.cdf(x)), rel=1e-10)
    assert normal_quantile(0.975) == pytest.approx(float(stats.norm.ppf(0.975)), rel=1e-12)
