"""Preferences that people give to answers they were shown."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from guerdon_service.core.conversation import Message
from guerdon_service.core.statistics.interval import Interval

Choice = Literal["chosen", "tie"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """One judgement: `chosen` was preferred to `rejected`, or neither when `is_tie`.

    shown: both texts in the order in which they were on the screen; empty when unknown.
    at: Unix seconds.
    """

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    is_tie: bool
    tenant: str
    annotator: str
    at: float
    tags: Mapping[str, str] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    model: str = ""
    """``NAME@VERSION`` whose scores were behind what was shown; empty when none."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the questions (a prompt and two texts) that two or more judgements are about.

    alpha: Krippendorff's, ordinal, with a 95 % interval; None without such questions.
    accuracy: by annotator, the probability of giving the true label, by the model of Dawid and Skene,
        "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm", 1979.
    num_judgements: by annotator.
    """

    num_questions: int
    alpha: Interval | None
    accuracy: Mapping[str, float]
    num_judgements: Mapping[str, int]


class FeedbackStore(Protocol):
    """Durable feedback. Blocking; every method is one transaction."""

    def add(self, feedback: Feedback) -> None:
        """Store it; the same id of the same tenant again changes nothing."""
        ...

    def read(self, tenant: str | None = None) -> Iterator[Feedback]:
        """All of it, oldest first, in bounded memory."""
        ...


class FeedbackTaker(Protocol):
    """What a transport asks for. Raises only `core.errors`."""

    async def submit(self, feedback: Feedback) -> Feedback:
        """Check and store one judgement; `id` and `at` are filled when empty."""
        ...

    async def agreement(self, tenant: str | None) -> Agreement:
        """How far what is stored agrees; None is of every tenant."""
        ...
