"""The surface baseline against scikit-learn, and on data whose answer is known."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from guerdon_training.audit.surface_model import cross_validated_margin, fit_logistic


def test_fit_equals_the_reference() -> None:
    """The reference gets each pair once as it is and once mirrored, at half the weight."""
    gaps = np.random.default_rng(0).normal(0.3, 1, (200, 3))
    reference = LogisticRegression(fit_intercept=False, C=1.0, tol=1e-10)
    reference.fit(np.concatenate([gaps, -gaps]), np.repeat([1, 0], 200), sample_weight=np.full(400, 0.5))
    np.testing.assert_allclose(fit_logistic(gaps), reference.coef_[0], atol=1e-5)


def test_separable_data_stay_finite() -> None:
    weights = fit_logistic(np.ones((1000, 1)))
    assert np.isfinite(weights).all() and weights[0] > 3


def test_margin_finds_a_rule_and_only_where_there_is_one() -> None:
    generator = np.random.default_rng(0)
    gaps = generator.normal(0, 1, (2000, 2))
    right = gaps[:, :1] > 0
    follows = np.where(right == (generator.random((2000, 1)) < 0.8), gaps, -gaps)  # 80 % follow feature 0
    margin = cross_validated_margin(follows, range(2000))
    assert (margin > 0).mean() == pytest.approx((follows[:, 0] > 0).mean(), abs=0.02)
    assert (cross_validated_margin(gaps, range(2000)) > 0).mean() == pytest.approx(0.5, abs=0.04)


def test_a_prompt_never_helps_to_judge_itself() -> None:
    """Each prompt has a feature of its own that tells the label; the others cannot teach it."""
    prompts = np.repeat(np.arange(20), 5)
    gaps = np.eye(20)[prompts]
    assert (cross_validated_margin(gaps, prompts.tolist()) == 0).all()
