"""Krippendorff's alpha with a bootstrap interval over items.

Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011): alpha = 1 - D_o / D_e, for any number of
annotators, with missing data.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from guerdon_service.core.statistics.arrays import Floats, Ints, cluster_sums
from guerdon_service.core.statistics.bootstrap import percentile_interval
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.resample import item_weights


@dataclass(frozen=True, slots=True)
class _Units:
    """U distinct items with N different labels in all, item after item and sorted within each.

    labels: int64 [N], numbered in their order, each there. times: float64 [N], how often the item was given
    it. items: int64 [N], the item of each label. sizes: float64 [U], of all its labels.
    """

    labels: Ints
    times: Floats
    items: Ints
    sizes: Floats

    def sums(self, values: Floats) -> Floats:
        """Over all labels of each item: [B, N] to [B, U]."""
        starts = np.flatnonzero(np.diff(self.items, prepend=-1))
        return np.asarray(np.add.reduceat(values * self.times, starts, axis=1))

    def totals(self, weights: Floats) -> Floats:
        """How often each label was given, with items weighted: [B, U] to [B, labels]."""
        order = np.argsort(self.labels, kind="stable")
        starts = np.flatnonzero(np.diff(self.labels[order], prepend=-1))
        given = weights[:, self.items[order]] * self.times[order]
        return np.asarray(np.add.reduceat(given, starts, axis=1))


def krippendorff_alpha(items: Ints, labels: Ints, *, ordinal: bool) -> Interval:
    """Alpha and its 95 % `percentile_interval`, whole items drawn with replacement.

    1.0 is perfect agreement, 0.0 what chance gives. Items with fewer than two labels are left out. With one
    label throughout the value is not defined; 1.0 is given, since nobody disagreed. Memory grows with the
    number of labels given, however many of them, or of the items, differ.

    Disagreement too rare to be seen makes no width: where two annotators differ on one item in 15, intervals
    of 10 items hold the alpha in half of the samples, of 20 in 73 %, of 50 in 83 to 91 %. By chance alone
    the lower end is above 0 in 2 % at most.

    Args:
        items, labels: int64 [N], what was labelled, and how; ordinal labels are numbered in order. At least
            one item has two.
        ordinal: distance between ranks, as Krippendorff defines it, in place of equal or not.
    """
    units, counts = _gathered(items, labels)
    blocks = item_weights(counts, len(units.labels))
    values = np.concatenate([_alpha(block, units, ordinal=ordinal) for block in blocks])
    return percentile_interval(float(values[0]), values[1:], int(counts.sum()))


def _gathered(items: Ints, labels: Ints) -> tuple[_Units, Ints]:
    """Distinct items with two labels or more, and how many items are like each: int64 [U]."""
    (items, labels), times = np.unique(np.stack([items, labels]), axis=1, return_counts=True)
    given = np.split(np.stack([labels, times], axis=1), np.flatnonzero(np.diff(items)) + 1)
    alike = Counter(tuple(map(tuple, own.tolist())) for own in given if own[:, 1].sum() >= 2)
    of_item = np.repeat(np.arange(len(alike)), [len(own) for own in alike])
    flat, times = np.array([label for own in alike for label in own]).T
    numbered, weights = np.unique(flat, return_inverse=True)[1], times.astype(np.float64)
    units = _Units(numbered, weights, of_item, cluster_sums(of_item, weights))
    return units, np.array(list(alike.values()))


def _alpha(weights: Floats, units: _Units, *, ordinal: bool) -> Floats:
    """Alpha of each weighting [B] of the distinct items; weights is [B, units].

    Distances are summed without a table of all pairs of labels, which is huge for ratings on a fine scale: of
    n numbers the squared differences of all pairs sum to n times the sum of squares, less the squared sum.
    """
    totals = units.totals(weights)
    num = totals.sum(axis=1)
    if ordinal:
        places = _middle_ranks(totals)
        of_labels = places[:, units.labels]
        within = units.sizes * units.sums(np.square(of_labels)) - np.square(units.sums(of_labels))
        among = num * (np.square(places) * totals).sum(axis=1) - np.square((places * totals).sum(axis=1))
    else:
        within = _unequal(units)[None]
        among = (np.square(num) - np.square(totals).sum(axis=1)) / 2
    observed = (weights / (units.sizes - 1) * within).sum(axis=1)
    defined = among > 0
    ratio = np.divide(observed, among, out=np.zeros_like(observed), where=defined)
    return np.where(defined, 1 - (num - 1) * ratio, 1.0)


def _unequal(units: _Units) -> Floats:
    """Pairs of different labels on each item: [U]."""
    return (np.square(units.sizes) - cluster_sums(units.items, np.square(units.times))) / 2


def _middle_ranks(totals: Floats) -> Floats:
    """Places [B, labels] whose squared differences are the ordinal distances.

    The annotations below a label and half of its own; less half of all, so that squares lose no digits.
    """
    num: Floats = totals.sum(axis=1, keepdims=True)
    return np.cumsum(totals, axis=1) - (totals + num) / 2
