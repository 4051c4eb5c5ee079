"""Items through the scoring service, in its bulk lane: the very scores that ``/v1/score`` gives."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import BackendFailed, InvalidInput, TooManyItems
from guerdon_service.core.evaluation import ItemScores
from guerdon_service.core.query import Lane, Options, ScoreQuery
from guerdon_service.core.result import Provenance, Score
from guerdon_service.evaluation.item import Item
from guerdon_service.scoring.patience import patiently
from guerdon_service.scoring.service import ScoringService

CHUNK_ITEMS = 64
"""Items of one request: enough for several forwards, few enough that a killed job loses little."""
CONCURRENCY = 3
"""Requests at once: one in the model, one waiting, one being tokenized."""
_DEADLINE_S = 3600.0
_REFUSED = re.compile(r"items\[(\d+)\]")

NextChunk = Callable[[], list[Item]]
"""Blocking; an empty list ends it. Called in a thread, never twice at once."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A model as an evaluation asks it."""

    model: str
    profile: str | None
    tenant: str = ""

    @property
    def options(self) -> Options:
        """Options of every request."""
        return Options(self.model, self.profile, _DEADLINE_S, Lane.BULK, self.tenant)


async def pin(service: ScoringService, asked: Asked) -> Provenance:
    """Which version answers now: asked by scoring one short text, which works for ensembles too.

    Raises:
        GuerdonError: no such model or profile, or it is not ready.
    """
    probe = ScoreQuery((Conversation.of("Hello", "Hello."),), asked.options)
    return (await patiently(partial(service.score, probe))).model


def served_slope(service: ScoringService, model: str) -> float:
    """Slope of the link from margins to probabilities; an ensemble is served with its members' mean.

    Raises:
        GuerdonError: no such model, or it is not ready.
    """
    members = service.catalog.resolve(model).spec.members or (model,)
    return sum(service.manifest(member).calibration.slope for member in members) / len(members)


async def score_chunks(
    service: ScoringService, asked: Asked, digest: str, next_chunk: NextChunk
) -> AsyncIterator[list[ItemScores]]:
    """Scores of chunk after chunk, in whatever order they become ready, `CONCURRENCY` at a time.

    Raises:
        InvalidInput: another version than `digest` began to answer under the model's name.
        BackendFailed: an item could not be scored, again and again. It is no refusal of the item's text: a
            model must not be measured without the items that it fails on.
        GuerdonError: the model went away.
    """
    pending: set[asyncio.Task[list[ItemScores]]] = set()
    try:
        while True:
            while len(pending) < CONCURRENCY and (chunk := await asyncio.to_thread(next_chunk)):
                pending.add(asyncio.create_task(_score_items(service, asked, digest, chunk)))
            if not pending:
                return
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)


async def _score_items(
    service: ScoringService, asked: Asked, digest: str, items: Sequence[Item]
) -> list[ItemScores]:
    """One `ItemScores` per item; an item whose text the model refuses has none, and its chunk mates do."""
    left = list(items)
    refused: list[ItemScores] = []
    while left:
        owners = [i for i, item in enumerate(left) for _ in item.responses]
        query = ScoreQuery(tuple(c for item in left for c in item.conversations()), asked.options)
        try:
            result = await patiently(partial(service.score, query))
        except TooManyItems:
            if len(left) == 1:
                raise
            half = len(left) // 2
            parts = [await _score_items(service, asked, digest, p) for p in (left[:half], left[half:])]
            return [*refused, *parts[0], *parts[1]]
        except BackendFailed as err:
            raise BackendFailed(f"items {left[0].id} to {left[-1].id}: {err.message}") from err
        except InvalidInput as err:
            match = _REFUSED.match(err.param or "")
            if match is None:
                raise
            refused.append(ItemScores(left.pop(owners[int(match[1])]).id, None))
            continue
        if result.model.digest != digest:
            raise InvalidInput(
                f"model {asked.model} became {result.model.version} during the evaluation; start it again",
                param="candidate",
            )
        return [*refused, *_by_item(left, result.scores)]
    return refused


def _by_item(items: Sequence[Item], scores: Sequence[Score]) -> list[ItemScores]:
    found, start = [], 0
    for item in items:
        mine = scores[start : start + len(item.responses)]
        start += len(item.responses)
        stds = tuple(s.std for s in mine)
        found.append(ItemScores(item.id, tuple(s.reward for s in mine), stds if any(stds) else None))
    return found
