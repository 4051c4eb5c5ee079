"""Ranking candidates on a decoder computes their prompt once, and every score is that of a lone request."""

import random

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.ports import BatchReport, NullObserver
from guerdon_service.core.query import RankQuery
from tests.fakes import running_service
from tests.tiny import tiny

N, PROMPT_DIGITS, RESPONSE_DIGITS = 16, 285, 56


class Tokens(NullObserver):
    """Adds up what forwards computed."""

    computed = 0

    def batch(self, model: str, report: BatchReport) -> None:
        self.computed += report.num_computed


def digits(rng: random.Random, count: int) -> str:
    """About one token each."""
    return "".join(rng.choices("0123456789", k=count))


async def test_tokens_computed_are_within_a_tenth_of_prompt_plus_responses() -> None:
    rng, observer, loaded = random.Random(0), Tokens(), []
    prompt = (Message("user", digits(rng, PROMPT_DIGITS)),)
    texts = tuple(digits(rng, RESPONSE_DIGITS) for _ in range(N))

    def load(spec: ModelSpec) -> LoadedModel:
        loaded.append(load_model(spec))
        return loaded[0]

    async with running_service(
        ModelSpec("tiny", str(tiny("llama"))), load=load, observer=observer
    ) as service:
        ranked = await service.rank(RankQuery(prompt, texts))
        encoded = [loaded[0].encoder.encode(Conversation(prompt, t), "") for t in texts]
        singles = [float(loaded[0].backend.forward([e])[0][0, 0]) for e in encoded]
    shared, responses = encoded[0].prefix_len, sum(e.num_tokens - e.prefix_len for e in encoded)
    assert 250 < shared < 350
    assert 50 * N < responses < 70 * N
    assert shared + responses <= observer.computed <= 1.1 * (shared + responses)
    raw = {r.index: next(iter(r.score.raw.values())) for r in ranked.results}
    assert [raw[i] for i in range(N)] == singles  # bit for bit
