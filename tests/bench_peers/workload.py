"""What every server is asked: seeded, so that all get the same bytes, and new in every round."""

import math
import random
from dataclasses import dataclass

from guerdon_service.app.bench.texts import Item, words


@dataclass(frozen=True, slots=True)
class Ask:
    """Items that one caller sends together; they share a prompt. Servers of single items get a call each."""

    items: tuple[Item, ...]
    kind: str = "item"


def mixed_singles(count: int, seed: int) -> list[Ask]:
    """Single items of 20 to 400 words, log-normal about a median of 75; 1/5 to 3/5 are prompt."""
    rng = random.Random(seed)
    asks = []
    for _ in range(count):
        total = min(400, max(20, round(rng.lognormvariate(math.log(75), 0.85))))
        prompt = max(6, int(total * rng.uniform(0.2, 0.6)))
        asks.append(_one(rng, prompt, total - prompt))
    return asks


def best_of_16(count: int, seed: int) -> list[Ask]:
    """Sixteen responses of about 60 words to one prompt of about 300."""
    rng = random.Random(seed)
    asks = []
    for _ in range(count):
        prompt = words(rng, rng.randint(270, 330))
        asks.append(Ask(tuple(Item(prompt, words(rng, rng.randint(48, 72))) for _ in range(16))))
    return asks


def short_and_long(count: int, seed: int) -> list[Ask]:
    """Nine in ten items have 28 words, the others 420."""
    rng = random.Random(seed)
    return [
        _one(rng, 200, 220, "long") if rng.random() < 0.1 else _one(rng, 12, 16, "short")
        for _ in range(count)
    ]


def items_of(asks: list[Ask]) -> list[Item]:
    """All items, in order."""
    return [item for ask in asks for item in ask.items]


def _one(rng: random.Random, prompt_words: int, response_words: int, kind: str = "item") -> Ask:
    return Ask((Item(words(rng, prompt_words), words(rng, response_words)),), kind)
