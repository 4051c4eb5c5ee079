"""Preferences of people who have a model's own taste, up to chance: the slope of its probability is known."""

import functools
import random
from pathlib import Path
from typing import Any

import numpy as np

from guerdon_service.app.loader import load_backend
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.tokenization.encoder import load_encoder

SLOPE = 3.0
"""P(a preferred) = sigmoid(SLOPE * margin), of the mean of heads that are divided by their deviation."""
_WORDS = (
    "apple",
    "river",
    "quiet",
    "fox",
    "harmless",
    "better",
    "poem",
    "rain",
    "sea",
    "answer",
    "false",
    "true",
)
_BATCH = 64


@functools.cache
def drawn_pairs(model: Path, count: int, seed: int = 0) -> tuple[dict[str, Any], ...]:
    """`count` preference records, two of each prompt."""
    chance = random.Random(seed)
    texts = [
        (f"Question {seed} {i // 2}?", " ".join(chance.choices(_WORDS, k=chance.randrange(3, 9))))
        for i in range(count)
        for _ in "ab"
    ]
    raw = raw_scores(model, texts)
    tastes = (raw / raw.std(axis=0)).mean(axis=1)
    records = []
    for i in range(count):
        a, b = 2 * i, 2 * i + 1
        if chance.random() > 1.0 / (1.0 + np.exp(-SLOPE * (tastes[a] - tastes[b]))):
            a, b = b, a
        records.append({"id": f"p{i}", "prompt": texts[a][0], "chosen": texts[a][1], "rejected": texts[b][1]})
    return tuple(records)


def raw_scores(model: Path, texts: list[tuple[str, str]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """float32 [N, H] of pairs of prompt and response, as served in fp32."""
    artifact = read_artifact(str(model))
    encoder = load_encoder(artifact)
    rows = [encoder.encode(Conversation.of(*text), "text") for text in texts]
    backend = load_backend(ModelSpec("m", str(model)), artifact)
    try:
        parts = [backend.forward(rows[i : i + _BATCH])[0] for i in range(0, len(rows), _BATCH)]
    finally:
        backend.close()
    return np.concatenate(parts)
