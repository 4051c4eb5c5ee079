"""Made-up conversations with chosen lengths; seeded, so that two runs send the same bytes."""

import random
from dataclasses import dataclass

WORDS = tuple("time year people way day man thing woman life child world school state family".split())  # noqa: SIM905
"""Common English nouns: one token each for the tokenizers at hand."""


@dataclass(frozen=True, slots=True)
class Item:
    """A prompt and a response, as the wire has them."""

    prompt: str
    response: str


def mixed_items(count: int, seed: int, shortest: int = 20, longest: int = 400) -> list[Item]:
    """Items of about `shortest` to `longest` tokens, uniform; a third is the prompt."""
    rng = random.Random(seed)
    return [_item(rng, rng.randint(shortest, longest)) for _ in range(count)]


def candidates(count: int, prompt_words: int, response_words: int, seed: int) -> list[Item]:
    """Items that share one prompt."""
    rng = random.Random(seed)
    prompt = words(rng, prompt_words)
    return [Item(prompt, words(rng, response_words)) for _ in range(count)]


def words(rng: random.Random, count: int) -> str:
    """`count` words in a row."""
    return " ".join(rng.choices(WORDS, k=count))


def _item(rng: random.Random, num_tokens: int) -> Item:
    prompt = max(3, num_tokens // 3)
    return Item(words(rng, prompt), words(rng, num_tokens - prompt - 3))
