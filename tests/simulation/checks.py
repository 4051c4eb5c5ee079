"""What one answer must be like."""

import asyncio
from dataclasses import dataclass
from typing import Any

from guerdon_service.core.errors import BackendFailed, DeadlineExceeded, NotReady, Overloaded, UnknownModel
from guerdon_service.core.result import ScoreResult
from tests.fakes import CodePointEncoder
from tests.simulation.backend import true_scores
from tests.simulation.plan import PATIENT_S, Ask
from tests.simulation.world import World

LATE_S = 0.05
"""An answer may take this long to reach its caller after the deadline: the clock's jitter."""
HICCUPS_S = 3.0
"""The same where threads are put aside."""


@dataclass(frozen=True)
class Answer:
    """What a request got.

    version: the champion when it asked.
    may_be_gone: whether that version was unloaded, its thread died, or the service closed.
    """

    result: ScoreResult | Exception | asyncio.CancelledError
    version: str
    asked_at: float
    answered_at: float
    may_be_gone: bool
    has_died: bool
    has_hung: bool

    @property
    def kind(self) -> str:
        return type(self.result).__name__


def check_answer(world: World, ask: Ask, answer: Answer) -> None:
    """A right answer, or a clear error that has its reason."""
    took_s = answer.answered_at - answer.asked_at
    late_s = HICCUPS_S if world.hiccup_share else LATE_S
    world.require(took_s <= ask.deadline_s + late_s, "an answer within the deadline")
    match answer.result:
        case ScoreResult() as result:
            _check_scores(world, ask, answer.version, result)
        case asyncio.CancelledError():
            world.require(ask.cancel_after_s is not None, "nobody is cancelled who did not ask for it")
        case DeadlineExceeded():
            world.require(took_s >= ask.deadline_s - LATE_S, "no deadline passes early")
            is_patient = ask.deadline_s >= PATIENT_S
            world.require(not is_patient or answer.has_hung, "whoever waits long enough is answered")
        case Overloaded() as error:
            world.require((error.retry_after_ms or 0) > 0, "a refusal says when to come back")
            world.require(took_s <= late_s, "a refusal comes at once")
        case BackendFailed():
            world.require(not ask.is_clean or answer.has_died, "no request fails for its batch mates")
        case NotReady() | UnknownModel():
            world.require(answer.may_be_gone, "no model is missing unless it was unloaded")
        case other:
            world.require(False, f"{other!r} is no answer")


def _check_scores(world: World, ask: Ask, version: str, result: Any) -> None:
    world.require(result.model.version == version, "the version that was champion when it asked")
    world.require(result.model.digest == f"digest-{version}", "the digest of that version")
    world.require(len(result.scores) == len(ask.items), "one score for each item")
    for item, score in zip(ask.items, result.scores, strict=False):
        ids = CodePointEncoder().encode(item, "").input_ids.tolist()
        world.require(list(score.raw.values()) == true_scores(version, ids), "the true score")
