"""What stored feedback tells."""

from collections.abc import Mapping
from dataclasses import dataclass

from guerdon.types.evaluation import Interval


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the questions (a prompt and two texts) that two or more judgements are about.

    alpha: Krippendorff's, ordinal; None without such questions.
    accuracy: by annotator, the probability of giving the true label, by the model of Dawid and Skene.
    num_judgements: by annotator.
    """

    num_questions: int
    alpha: Interval | None
    accuracy: Mapping[str, float]
    num_judgements: Mapping[str, int]
