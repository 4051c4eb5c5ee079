"""Rows through the domain layer: a few requests at a time, and each bad row's error with that row alone."""

import asyncio
import re
from collections.abc import Sequence

from guerdon_service.bulk.part import Outcome
from guerdon_service.bulk.records import Row
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import BackendFailed, GuerdonError, InvalidInput, Overloaded
from guerdon_service.core.query import Lane, Options, ScoreQuery
from guerdon_service.core.scorer import Scorer

REQUEST_ITEMS = 256
"""Rows of one request. They are tokenized together; the engine packs batches by tokens whatever this is."""
REQUESTS = 3
"""At once: one in the forward, one queued, one being tokenized."""
DEADLINE_S = 24 * 3600.0
"""Nobody waits for one request: a slow device is no error."""

_CALL_PARAMS = ("model", "profile")
"""Params of errors that no row is to blame for."""
_FIRST_ITEM = re.compile(r"\bitems\[0\]\.")


async def score_rows(scorer: Scorer, rows: Sequence[Row], profile: str | None) -> list[Outcome]:
    """Score or error of each row, in order.

    Raises:
        GuerdonError: one that concerns no single row.
    """
    options = Options(profile=profile, deadline_s=DEADLINE_S, lane=Lane.BULK)
    items = [row.item for row in rows if isinstance(row.item, Conversation)]
    room = asyncio.Semaphore(REQUESTS)

    async def one(start: int) -> list[Outcome]:
        async with room:
            return await _isolated(scorer, items[start : start + REQUEST_ITEMS], options)

    answers = await asyncio.gather(*(one(start) for start in range(0, len(items), REQUEST_ITEMS)))
    scored = iter([outcome for answer in answers for outcome in answer])
    return [next(scored) if isinstance(row.item, Conversation) else row.item for row in rows]


async def _isolated(scorer: Scorer, items: Sequence[Conversation], options: Options) -> list[Outcome]:
    """A request refused for one of its items is halved until that one stands alone."""
    try:
        return list(await _admitted(scorer, ScoreQuery(tuple(items), options)))
    except (InvalidInput, BackendFailed) as err:
        if err.param in _CALL_PARAMS:
            raise
        if len(items) == 1:
            return [_of_row(err)]
    half = len(items) // 2
    first = await _isolated(scorer, items[:half], options)
    return first + await _isolated(scorer, items[half:], options)


async def _admitted(scorer: Scorer, query: ScoreQuery) -> Sequence[Outcome]:
    """Long rows can fill the queue with the other requests of this run; they make room."""
    while True:
        try:
            return (await scorer.score(query)).scores
        except Overloaded as err:
            await asyncio.sleep((err.retry_after_ms or 1000) / 1000)


def _of_row(err: GuerdonError) -> GuerdonError:
    """The error without the request's numbering: ``items[0].response`` is the row's ``response``."""
    param = None if err.param is None else _FIRST_ITEM.sub("", err.param)
    return type(err)(_FIRST_ITEM.sub("", err.message), param=param)
