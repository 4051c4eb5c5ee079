"""The judgements of one group as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from guerdon_training.audit.records import Judgement

PREFERENCE_SCALES = (("a", "tie", "b"), ("x", "tie", "y"))
"""A comparison is an ordered scale: a tie lies between its two sides. See `Judgement.label`."""


@dataclass(frozen=True, slots=True)
class Rated:
    """labels: names or numbers, in order if `ordinal`; items, annotators, given: int64 [judgements], indices.

    annotators is empty where the votes carry no names.
    """

    group: str
    labels: tuple[str | float, ...]
    ordinal: bool
    item_names: tuple[str, ...]
    annotator_names: tuple[str, ...]
    items: NDArray[np.int64]
    annotators: NDArray[np.int64]
    given: NDArray[np.int64]

    @property
    def is_preference(self) -> bool:
        """Whether the labels compare two responses."""
        return any(set(self.labels) <= set(scale) for scale in PREFERENCE_SCALES)

    @property
    def num_labels(self) -> NDArray[np.int64]:
        """[items]: how many each was given."""
        return np.bincount(self.items, minlength=len(self.item_names))

    @property
    def counts(self) -> NDArray[np.float64]:
        """[items, labels]: how many annotators gave that label. Huge for ratings on a fine scale."""
        out = np.zeros((len(self.item_names), len(self.labels)))
        np.add.at(out, (self.items, self.given), 1.0)
        return out


def rated_groups(judgements: Sequence[Judgement]) -> tuple[Rated, ...]:
    """One `Rated` per group that has an item with at least two labels."""
    groups: dict[tuple[str, bool], list[Judgement]] = {}
    for judgement in judgements:  # a number and a name are of two scales, in one file too
        groups.setdefault((judgement.group, isinstance(judgement.label, float)), []).append(judgement)
    rated = (_rated(group, rows) for (group, _), rows in groups.items())
    return tuple(r for r in rated if (r.num_labels >= 2).any())


def shared_items(rated: Rated) -> Rated:
    """What was said of items that another annotator judged too; who shares none is left out."""
    pairs = np.unique(np.stack([rated.items, rated.annotators]), axis=1)
    kept = np.bincount(pairs[0])[rated.items] > 1
    items, item_places = np.unique(rated.items[kept], return_inverse=True)
    annotators, annotator_places = np.unique(rated.annotators[kept], return_inverse=True)
    return replace(
        rated,
        item_names=tuple(rated.item_names[i] for i in items),
        annotator_names=tuple(rated.annotator_names[i] for i in annotators),
        items=item_places,
        annotators=annotator_places,
        given=rated.given[kept],
    )


def _rated(group: str, rows: Sequence[Judgement]) -> Rated:
    labels, ordinal = _scale({r.label for r in rows})
    items, item_names = _index([r.item for r in rows])
    named = all(r.annotator is not None for r in rows)
    annotators, annotator_names = _index([r.annotator or "" for r in rows] if named else [])
    place = {label: i for i, label in enumerate(labels)}
    given = np.array([place[r.label] for r in rows], np.int64)
    return Rated(group, labels, ordinal, item_names, annotator_names, items, annotators, given)


def _scale(labels: set[str | float]) -> tuple[tuple[str | float, ...], bool]:
    if all(isinstance(label, float) for label in labels):
        return tuple(sorted(labels, key=float)), True
    names = sorted(map(str, labels))
    for scale in PREFERENCE_SCALES:
        if set(names) <= set(scale):
            return tuple(label for label in scale if label in names), True
    return tuple(names), False


def _index(names: Sequence[str]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([number[name] for name in names], np.int64), tuple(number)
