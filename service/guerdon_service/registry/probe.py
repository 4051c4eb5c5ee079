"""How fast two loaded versions answer, measured in one run."""

import secrets
import statistics
import time

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.query import Lane
from guerdon_service.registry.evidence import Latency
from guerdon_service.scoring.model_scorer import ModelScorer

ROUNDS = 15
DEADLINE_S = 60.0

_PROBE = Conversation.of("How do I keep bread fresh for more than a day? " * 10, "In a bag.")
"""A prompt of a usual length, and a response that fits every model."""


async def measure_latency(candidate: ModelScorer, incumbent: ModelScorer) -> Latency:
    """Medians over `ROUNDS` turns; the two take turns, so that whatever else runs slows both alike.

    No cache is asked: the engine gets a key that nobody had before.

    Raises:
        GuerdonError: a model does not answer.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for scorer, taken in zip((candidate, incumbent), times, strict=True):
            encoded = scorer.model.encoder.encode(_PROBE, "probe")
            started = time.monotonic()
            await scorer.engine.score(
                [encoded], [secrets.token_bytes(32)], deadline=started + DEADLINE_S, lane=Lane.INTERACTIVE
            )
            taken.append(time.monotonic() - started)
    return Latency(*(statistics.median(taken) for taken in times))
