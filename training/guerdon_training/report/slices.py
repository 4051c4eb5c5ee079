"""Does a reward agree with some groups of people more than with others?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.bootstrap import clustered_bootstrap
from guerdon_service.core.statistics.interval import Interval
from guerdon_training.convert.source_row import read_rows
from guerdon_training.ppo.reward_source import RewardSource

PROMPT = "Write a comment."
"""The rated texts answer nothing; the reward model needs a prompt."""
MIN_PEOPLE = 10
"""A smaller group's interval would say nothing."""


@dataclass(frozen=True, slots=True)
class GroupAgreement:
    """How often the reward orders two texts as people of the group rated them; 95 % over people."""

    attribute: str
    group: str
    num_people: int
    agreement: Interval


def measure_slices(source: RewardSource, ratings: Path, *, higher_is_worse: bool) -> list[GroupAgreement]:
    """Agreement by group, from rows ``{text, rating, annotator, demographics: {...}}``.

    Per person: the share of the pairs of texts rated differently that the reward orders the same way.

    Raises:
        InvalidInput: no such rows.
    """
    rows = [r.values for r in read_rows(ratings)]
    if not all({"text", "rating", "annotator", "demographics"} <= row.keys() for row in rows):
        raise InvalidInput(
            f"{ratings} needs text, rating, annotator and demographics on each row; give another file",
            param="card.ratings",
        )
    texts = list(dict.fromkeys(str(row["text"]) for row in rows))
    scores = dict(zip(texts, source.score([Conversation.of(PROMPT, t) for t in texts]), strict=True))
    people: dict[str, list[tuple[float, float]]] = {}
    groups: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        score, person = scores[str(row["text"])], str(row["annotator"])
        if score is not None:
            rating = float(row["rating"]) * (-1.0 if higher_is_worse else 1.0)
            people.setdefault(person, []).append((score, rating))
        for attribute, value in (row["demographics"] or {}).items():
            groups.setdefault((attribute, str(value)), set()).add(person)
    agreement = {p: a for p, judged in people.items() if (a := _agreement(np.array(judged))) is not None}
    found = [_group("all", "everyone", list(agreement), agreement)]
    for (attribute, value), members in sorted(groups.items()):
        known = sorted(members & agreement.keys())
        if len(known) >= MIN_PEOPLE:
            found.append(_group(attribute, value, known, agreement))
    return found


def _group(attribute: str, group: str, people: Sequence[str], agreement: dict[str, float]) -> GroupAgreement:
    values = np.array([agreement[p] for p in people])
    return GroupAgreement(attribute, group, len(people), clustered_bootstrap(values, list(people)))


def _agreement(judged: NDArray[np.float64]) -> float | None:
    """Of one person's texts, [N, 2] scores and ratings; None where all are rated alike."""
    scores, ratings = judged.T
    rated = np.sign(ratings[:, None] - ratings[None, :])
    scored = np.sign(scores[:, None] - scores[None, :])
    apart = rated > 0
    return float(((scored[apart] + 1.0) / 2.0).mean()) if apart.any() else None
