"""How fast two loaded versions answer, measured in one run."""

import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.query import Lane
from guerdon_service.registry.evidence import Latency
from guerdon_service.scoring.model_scorer import ModelScorer

ROUNDS = 20
"""Even, so that each goes first as often; the 6th and the 15th of 20 hold a median at 95.9 %."""
DEADLINE_S = 60.0

_PROBE = Conversation.of("How do I keep bread fresh for more than a day? " * 10, "In a bag.")
"""A prompt of a usual length, and a response that fits every model."""

Request = Callable[[], Awaitable[object]]
Clock = Callable[[], float]
"""Seconds since some moment."""


async def measure_latency(candidate: ModelScorer, incumbent: ModelScorer) -> Latency:
    """`paired_rounds` of one short request; no cache is asked: the engine gets a key that nobody had before.

    Raises:
        GuerdonError: a model does not answer.
    """
    return await paired_rounds(partial(_score, candidate), partial(_score, incumbent))


async def paired_rounds(candidate: Request, incumbent: Request, clock: Clock = time.perf_counter) -> Latency:
    """`ROUNDS` rounds of a request to each, one after the other; who is first in one is second in the next.

    So whatever else runs on the machine slows both of a round alike, and neither gains by its place.
    """
    ours: list[float] = []
    theirs: list[float] = []
    turns = ((candidate, ours), (incumbent, theirs))
    for number in range(ROUNDS):
        for request, taken in turns if number % 2 == 0 else turns[::-1]:
            started = clock()
            await request()
            taken.append(clock() - started)
    return Latency(tuple(ours), tuple(theirs))


async def _score(scorer: ModelScorer) -> None:
    encoded = scorer.model.encoder.encode(_PROBE, "probe")
    deadline = time.monotonic() + DEADLINE_S
    await scorer.engine.score([encoded], [secrets.token_bytes(32)], deadline=deadline, lane=Lane.INTERACTIVE)
