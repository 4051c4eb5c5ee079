"""Logistic regression against statsmodels and scikit-learn."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.logistic import fit_logistic

statsmodels: Any = import_module("statsmodels.api")
Floats = NDArray[np.float64]


def _draw(num: int = 400) -> tuple[Floats, Floats, NDArray[np.int64]]:
    generator = np.random.default_rng(0)
    x = np.column_stack([np.ones(num), generator.normal(size=(num, 3))])
    clusters = generator.integers(0, 50, num)
    logits = x @ [0.3, 1.0, -0.5, 0.0] + generator.normal(size=50)[clusters]
    return x, (generator.random(num) < 1 / (1 + np.exp(-logits))).astype(np.float64), clusters


def test_fit_equals_the_generalised_linear_model() -> None:
    x, y, _ = _draw()
    reference = statsmodels.GLM(y, x, family=statsmodels.families.Binomial()).fit(tol=1e-13)
    found = fit_logistic(x, y)
    np.testing.assert_allclose(found.coefficients, reference.params, atol=1e-9)
    np.testing.assert_allclose(found.covariance, reference.cov_params(), atol=1e-9)


def test_shares_as_targets_equal_the_generalised_linear_model() -> None:
    x, y, _ = _draw()
    soft = 0.1 + 0.8 * y
    reference = statsmodels.GLM(soft, x, family=statsmodels.families.Binomial()).fit(tol=1e-13)
    np.testing.assert_allclose(fit_logistic(x, soft).coefficients, reference.params, atol=1e-9)


def test_covariance_robust_to_clusters_equals_the_reference() -> None:
    x, y, clusters = _draw()
    model = statsmodels.GLM(y, x, family=statsmodels.families.Binomial())
    keywords = {"groups": clusters, "use_correction": False}
    reference = model.fit(tol=1e-13, cov_type="cluster", cov_kwds=keywords).cov_params()
    found = fit_logistic(x, y, clusters=clusters)
    np.testing.assert_allclose(found.covariance, reference * 50 / 49, atol=1e-9)


def test_penalty_equals_scikit_learns() -> None:
    x, y, _ = _draw()
    reference = LogisticRegression(C=1 / 3.0, tol=1e-12, solver="newton-cholesky").fit(x[:, 1:], y)
    found = fit_logistic(x, y, l2=[0.0, 3.0, 3.0, 3.0]).coefficients
    np.testing.assert_allclose(found, [reference.intercept_[0], *reference.coef_[0]], atol=1e-8)


def test_far_targets_converge_from_zero() -> None:
    x = np.column_stack([np.ones(2000), np.linspace(-1, 1, 2000)])
    targets = 1 / (1 + np.exp(-(x @ [8.0, 20.0])))
    np.testing.assert_allclose(fit_logistic(x, targets).coefficients, [8.0, 20.0], rtol=1e-8)


@pytest.mark.parametrize("targets", [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 1]])
def test_separated_targets_are_refused_unless_penalised(targets: list[int]) -> None:
    x = np.column_stack([np.ones(4), [0.0, 1.0, 2.0, 3.0]])
    with pytest.raises(InvalidInput, match=r"separate|tell the targets apart"):
        fit_logistic(x, targets)
    assert np.isfinite(fit_logistic(x, targets, l2=1.0).coefficients).all()


def test_dependent_features_are_refused() -> None:
    x, y, _ = _draw()
    with pytest.raises(InvalidInput, match="linearly dependent"):
        fit_logistic(np.column_stack([x, x[:, 1]]), y)


def test_a_list_is_no_table() -> None:
    with pytest.raises(InvalidInput, match="table"):
        fit_logistic([1.0, 2.0], [0.0, 1.0])
