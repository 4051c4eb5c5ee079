"""Dawid-Skene against the reference package and against planted error rates."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from crowdkit.aggregation import DawidSkene as Reference
from numpy.typing import NDArray

from guerdon_service.core.statistics.dawid_skene import fit_dawid_skene

pytestmark = pytest.mark.filterwarnings("ignore")  # the reference uses calls that pandas deprecates

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def _simulate(
    num_items: int, accuracy: list[float], num_labels: int, share_missing: float = 0.0
) -> tuple[Ints, Ints, Ints, Ints]:
    """Items, annotators, labels of each judgement, and the true label of each item."""
    generator = np.random.default_rng(0)
    truth = generator.choice(
        num_labels, num_items, p=np.arange(1, num_labels + 1) / sum(range(num_labels + 1))
    )
    items, annotators = (a.ravel() for a in np.mgrid[0:num_items, 0 : len(accuracy)])
    kept = (generator.random(len(items)) >= share_missing) | (annotators == 0)
    items, annotators = items[kept], annotators[kept]
    right = generator.random(len(items)) < np.array(accuracy)[annotators]
    other = (truth[items] + generator.integers(1, num_labels, len(items))) % num_labels
    return items, annotators, np.where(right, truth[items], other), truth


def _expectation_maximisation(items: Ints, annotators: Ints, labels: Ints, num_labels: int) -> list[Floats]:
    """The paper's equations 2.3 to 2.5 on a dense table until nothing moves: posterior, priors, confusion."""
    given = np.zeros((items.max() + 1, annotators.max() + 1, num_labels))
    given[items, annotators, labels] = 1.0
    posterior = given.sum(axis=1) / given.sum(axis=(1, 2))[:, None]
    for _ in range(50_000):
        priors = posterior.mean(axis=0)
        counts = np.einsum("ik,ial->akl", posterior, given)
        confusion = counts / counts.sum(axis=2, keepdims=True)
        chance = np.einsum("akl,ial->iak", confusion, given)
        chance[given.sum(axis=2) == 0] = 1.0
        joint = priors * chance.prod(axis=1)
        last, posterior = posterior, joint / joint.sum(axis=1, keepdims=True)
        if np.abs(posterior - last).max() < 1e-14:
            return [posterior, priors, confusion]
    raise AssertionError("no convergence")


@pytest.mark.parametrize("num_labels", [2, 4])
@pytest.mark.parametrize("accuracy", [[0.95, 0.8, 0.9, 0.85, 0.7], [0.7, 0.6, 0.65, 0.7, 0.6]])
def test_dawid_skene_equals_plain_expectation_maximisation(num_labels: int, accuracy: list[float]) -> None:
    items, annotators, labels, _ = _simulate(150, accuracy, num_labels, share_missing=0.1)
    expected = _expectation_maximisation(items, annotators, labels, num_labels)
    found = fit_dawid_skene(items, annotators, labels, num_labels)
    for one, other in zip((found.posterior, found.priors, found.confusion), expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)


@pytest.mark.parametrize("num_labels", [2, 4])
def test_dawid_skene_equals_the_reference_package(num_labels: int) -> None:
    """It stops by the likelihood, which is flat at its maximum: hence the tolerance."""
    items, annotators, labels, _ = _simulate(150, [0.95, 0.8, 0.9, 0.85, 0.7], num_labels, share_missing=0.1)
    frame = import_module("pandas").DataFrame({"task": items, "worker": annotators, "label": labels})
    reference: Any = Reference(n_iter=500, tol=1e-9).fit(frame)
    found = fit_dawid_skene(items, annotators, labels, num_labels)
    expected = reference.probas_.sort_index().sort_index(axis=1).to_numpy()
    np.testing.assert_allclose(found.posterior, expected, atol=2e-4)
    for annotator in range(5):  # the reference indexes given label by row, true label by column
        errors = reference.errors_.loc[annotator].reindex(index=range(num_labels), columns=range(num_labels))
        np.testing.assert_allclose(found.confusion[annotator].T, errors.fillna(0.0), atol=2e-4)


def test_dawid_skene_recovers_planted_error_rates() -> None:
    planted = [0.95, 0.9, 0.8, 0.7, 0.6, 0.85]
    items, annotators, labels, truth = _simulate(3000, planted, 3)
    found = fit_dawid_skene(items, annotators, labels, 3)
    np.testing.assert_allclose(found.accuracy, planted, atol=0.03)
    assert (found.posterior.argmax(axis=1) == truth).mean() > 0.95
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1.0)


def test_skill_is_zero_for_labels_that_ignore_the_item_and_one_for_the_truth() -> None:
    items, annotators, labels, truth = _simulate(2000, [0.9, 0.9, 0.9, 0.9, 0.9], 2)
    labels[annotators == 3] = 1  # one label throughout: right for 2 of 3 items
    labels[annotators == 4] = truth
    skill = fit_dawid_skene(items, annotators, labels, 2).skill
    assert abs(skill[3]) < 0.02
    assert skill[4] > 0.97
