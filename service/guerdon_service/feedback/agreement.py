"""How far stored judgements agree, and how reliable each annotator is."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.feedback import Agreement, Feedback
from guerdon_service.core.statistics.agreement import krippendorff_alpha
from guerdon_service.core.statistics.dawid_skene import fit_dawid_skene
from guerdon_service.feedback.question import question_key

Indices = NDArray[np.int64]
"""int64 [judgements]."""

_LABELS = 3
"""Preferred the first of the two texts (in alphabetical order), neither, the second: ordinal."""


def measure_agreement(judgements: Iterable[Feedback]) -> Agreement:
    """Agreement and reliability; memory grows with the number of judgements, not with their texts.

    Whoever judged a question again changed their mind, and agrees with nobody: their last label counts. All
    who gave no name are one person: that they are two is not known.

    Args:
        judgements: oldest first.
    """
    questions: dict[bytes, int] = {}
    annotators: dict[str, int] = {}
    given: dict[tuple[int, int], int] = {}
    for judgement in judgements:
        key, label = _question(judgement)
        item = questions.setdefault(key, len(questions))
        given[item, annotators.setdefault(judgement.annotator, len(annotators))] = label
    if not given:
        return Agreement(0, None, {}, {})
    items, people = np.array(list(given), dtype=np.int64).T
    labels = np.array(list(given.values()), dtype=np.int64)
    kept = np.bincount(items)[items] >= 2
    if not kept.any():
        return Agreement(0, None, {}, {})
    return _measured(items[kept], people[kept], labels[kept], tuple(annotators))


def _measured(items: Indices, people: Indices, labels: Indices, names: tuple[str, ...]) -> Agreement:
    known, places = np.unique(people, return_inverse=True)
    shared, numbered = np.unique(items, return_inverse=True)
    fitted = fit_dawid_skene(numbered, places, labels, _LABELS)
    who = [names[i] for i in known]
    return Agreement(
        num_questions=len(shared),
        alpha=krippendorff_alpha(items, labels, ordinal=True),
        accuracy={name: float(value) for name, value in zip(who, fitted.accuracy, strict=True)},
        num_judgements={name: int(n) for name, n in zip(who, np.bincount(places), strict=True)},
    )


def _question(judgement: Feedback) -> tuple[bytes, int]:
    """What was asked, whichever way round, and the label that was given."""
    label = 1 if judgement.is_tie else (0 if judgement.chosen < judgement.rejected else 2)
    return question_key(judgement.prompt, judgement.chosen, judgement.rejected), label
