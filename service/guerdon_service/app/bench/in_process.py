"""What needs no wire to be measured: tokens that a ranking computes, and the time that an alias costs."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from guerdon_service.app.bench.figure import Figure, at_most, plain
from guerdon_service.app.bench.texts import candidates
from guerdon_service.app.build import build_scorer, load_models
from guerdon_service.app.settings import ModelSettings, Settings
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.ports import BatchReport, NullObserver, Observer
from guerdon_service.core.query import RankQuery
from guerdon_service.scoring.service import ScoringService

_MODEL = "bench"
_LOOKUPS = 20_000
N, PROMPT_WORDS, RESPONSE_WORDS = 16, 290, 56
"""300 tokens of prompt and 60 of a response, with the template's own."""


class _Tokens(NullObserver):
    """Adds up what forwards computed."""

    computed = 0

    def batch(self, model: str, report: BatchReport) -> None:
        self.computed += report.num_computed


def rank_tokens(
    decoder: str, rounds: int, prompt_words: int = PROMPT_WORDS, response_words: int = RESPONSE_WORDS
) -> list[Figure]:
    """Tokens computed for a ranking of 16, over the prompt's and the responses': the prompt counts once.

    Raises:
        RuntimeError: a score is not, bit for bit, that of the candidate alone.
    """
    return asyncio.run(_rank_tokens(decoder, rounds, prompt_words, response_words))


def alias_lookup(source: str, rounds: int) -> list[Figure]:
    """Microseconds in which a request's ``NAME@ALIAS`` becomes a version, and those of its bare name."""
    return asyncio.run(_alias_lookup(source, rounds))


async def _rank_tokens(decoder: str, rounds: int, prompt_words: int, response_words: int) -> list[Figure]:
    observer, shares, counts = _Tokens(), [], []
    async with _serving(decoder, observer) as service:
        model = service.catalog.resolve(_MODEL).ready_scorer().model
        for i in range(rounds):
            items = candidates(N, prompt_words, response_words, seed=i)
            prompt = (Message("user", items[0].prompt),)
            before = observer.computed
            ranked = await service.rank(RankQuery(prompt, tuple(item.response for item in items)))
            counts.append(float(observer.computed - before))
            encoded = [model.encoder.encode(Conversation(prompt, item.response), "item") for item in items]
            needed = encoded[0].prefix_len + sum(e.num_tokens - e.prefix_len for e in encoded)
            shares.append(counts[-1] / needed)
            alone = [float(model.backend.forward([e])[0][0, 0]) for e in encoded]
            raw = {r.index: next(iter(r.score.raw.values())) for r in ranked.results}
            if [raw[index] for index in range(N)] != alone:
                raise RuntimeError("a ranked score is not that of the candidate alone; the service is wrong")
    return [
        at_most("tokens of a rank of 16 / prompt once and responses", shares, 1.1, "x"),
        plain("rank of 16: tokens computed", counts, "tokens"),
    ]


async def _alias_lookup(source: str, rounds: int) -> list[Figure]:
    async with _serving(source, NullObserver()) as service:
        service.catalog.point({(_MODEL, "candidate"): service.models()[0].version})
        by_alias = [_lookup_us(service, f"{_MODEL}@candidate") for _ in range(rounds)]
        by_name = [_lookup_us(service, _MODEL) for _ in range(rounds)]
    return [
        at_most("alias lookup", by_alias, 50.0, "us"),
        plain("bare name lookup", by_name, "us"),
    ]


def _lookup_us(service: ScoringService, reference: str) -> float:
    """Mean over many: one is too short for the clock."""
    started = time.perf_counter()
    for _ in range(_LOOKUPS):
        service.catalog.resolve(reference)
    return (time.perf_counter() - started) / _LOOKUPS * 1e6


@asynccontextmanager
async def _serving(source: str, observer: Observer) -> AsyncIterator[ScoringService]:
    settings = Settings(models={_MODEL: ModelSettings(source=source)}, cache_bytes=0)
    service = build_scorer(settings, observer)
    try:
        await load_models(service, settings)
        yield service
    finally:
        await service.close()
