"""How each annotator's ratings go with the others'."""

import numpy as np
from numpy.typing import NDArray


def consensus_correlation(
    items: NDArray[np.int64], annotators: NDArray[np.int64], ratings: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Pearson correlation of each annotator's ratings with the mean of the others' on the same items.

    The own rating is left out of the mean, as in a corrected item-total correlation (Nunnally, 1978). Items
    with one rating are left out; an annotator whose ratings do not vary has correlation 0.

    Args:
        items, annotators: int64 [judgements], indices from 0 with no gaps.
        ratings: float64 [judgements].

    Returns:
        float64 [annotators].
    """
    num = np.bincount(items)
    total = np.bincount(items, weights=ratings)
    kept = num[items] > 1
    items, annotators, ratings = items[kept], annotators[kept], ratings[kept]
    others = (total[items] - ratings) / (num[items] - 1)
    size = int(annotators.max()) + 1 if len(annotators) else 0
    count = np.maximum(np.bincount(annotators, minlength=size), 1)

    def centred(values: NDArray[np.float64]) -> NDArray[np.float64]:
        means = np.bincount(annotators, weights=values, minlength=size) / count
        return np.asarray(values - means[annotators])

    x, y = centred(ratings), centred(others)
    covariance = np.bincount(annotators, weights=x * y, minlength=size)
    spread = np.sqrt(
        np.bincount(annotators, weights=x * x, minlength=size)
        * np.bincount(annotators, weights=y * y, minlength=size)
    )
    out = np.zeros(size)
    np.divide(covariance, spread, out=out, where=spread > 1e-12)
    return out
