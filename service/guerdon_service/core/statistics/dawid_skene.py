"""Dawid-Skene: the error rates of each annotator, with the true labels unknown.

Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm" (1979).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ITERATIONS = 10_000
TOLERANCE = 1e-12
"""EM stops when no posterior moves by more: it converges linearly, so what is left is some hundreds of that
where annotators are hard to tell apart. The likelihood, flat at its maximum, would stop it far too early."""
_FLOOR = 1e-10  # a probability never estimated as zero, or one odd label would veto every item


@dataclass(frozen=True, slots=True)
class DawidSkene:
    """A fitted model.

    priors: [labels], how common each true label is.
    confusion: [annotators, true label, given label]; rows sum to one.
    posterior: [items, labels], probability of each true label.
    """

    priors: NDArray[np.float64]
    confusion: NDArray[np.float64]
    posterior: NDArray[np.float64]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Probability [annotators] of giving the true label, over the common distribution of labels."""
        diagonal = np.diagonal(self.confusion, axis1=1, axis2=2)
        return np.asarray(diagonal @ self.priors)

    @property
    def skill(self) -> NDArray[np.float64]:
        """Accuracy corrected for what the annotator would get right without reading [annotators].

        1.0 is never wrong; 0.0 is a label that does not depend on the item.
        """
        given = np.einsum("k,akl->al", self.priors, self.confusion)
        chance = given @ self.priors
        return np.asarray((self.accuracy - chance) / np.maximum(1 - chance, _FLOOR))


def fit_dawid_skene(
    items: NDArray[np.int64], annotators: NDArray[np.int64], labels: NDArray[np.int64], num_labels: int
) -> DawidSkene:
    """Maximum likelihood by EM from the majority vote; deterministic.

    Args:
        items, annotators, labels: int64 [judgements], indices from 0 with no gaps.
    """
    num_items, num_annotators = int(items.max()) + 1, int(annotators.max()) + 1
    posterior = np.zeros((num_items, num_labels))
    np.add.at(posterior, (items, labels), 1.0)
    posterior /= posterior.sum(axis=1, keepdims=True)
    for _ in range(MAX_ITERATIONS):
        last = posterior
        priors = posterior.mean(axis=0)
        confusion = _confusion(posterior[items], annotators, labels, num_annotators)
        posterior = _expect(priors, confusion, items, annotators, labels, num_items)
        if np.abs(posterior - last).max() < TOLERANCE:
            break
    return DawidSkene(priors, confusion, posterior)


def _confusion(
    weights: NDArray[np.float64],
    annotators: NDArray[np.int64],
    labels: NDArray[np.int64],
    num_annotators: int,
) -> NDArray[np.float64]:
    """M step: expected share of each given label by true label; weights is [judgements, labels]."""
    num_labels = weights.shape[1]
    counts = _sums(annotators * num_labels + labels, weights, num_annotators * num_labels)
    by_true = counts.reshape(num_annotators, num_labels, num_labels).transpose(0, 2, 1)
    floored = np.maximum(by_true, _FLOOR)
    return np.asarray(floored / floored.sum(axis=2, keepdims=True))


def _expect(
    priors: NDArray[np.float64],
    confusion: NDArray[np.float64],
    items: NDArray[np.int64],
    annotators: NDArray[np.int64],
    labels: NDArray[np.int64],
    num_items: int,
) -> NDArray[np.float64]:
    """E step: posterior [items, labels]."""
    judged = _sums(items, np.log(confusion)[annotators, :, labels], num_items)
    logs = np.log(np.maximum(priors, _FLOOR)) + judged
    scaled = np.exp(logs - logs.max(axis=1, keepdims=True))
    return np.asarray(scaled / scaled.sum(axis=1, keepdims=True))


def _sums(groups: NDArray[np.int64], values: NDArray[np.float64], num_groups: int) -> NDArray[np.float64]:
    """Sums of the rows of each group, [groups, columns]; ten times as fast as `np.add.at`."""
    return np.stack([np.bincount(groups, column, num_groups) for column in values.T], axis=1)
