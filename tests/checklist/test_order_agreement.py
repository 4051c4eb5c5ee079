"""Lower precision keeps the order: the default model on 500 real pairs, against its recorded fp32."""

import gzip
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from guerdon_service.app.export import export_command
from guerdon_service.app.loader import load_backend
from guerdon_service.artifacts.golden import read_golden
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.artifacts.resolve import DEFAULT_MODEL
from guerdon_service.core.artifact import Artifact, ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InputTooLong
from guerdon_service.tokenization.encoder import load_encoder

PAIRS = Path(__file__).parents[3] / "shared" / "data" / "pairs_valid.jsonl.gz"
NUM_PAIRS = 500
AGREEMENT = 0.98
Scores = Sequence[Sequence[float]]
"""Raw scores of the chosen and the rejected one, by head."""


@dataclass(frozen=True)
class Pairs:
    """Conversations, and what the model is recorded to score them in fp32.

    rows: chosen and rejected of each pair in turn.
    fp32: float32 [pairs, heads], chosen less rejected.
    """

    rows: list[Encoded]
    fp32: NDArray[np.float32]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    """Those that fit the model; without the data, every two golden conversations."""
    artifact = read_artifact(str(DEFAULT_MODEL))
    encoder = load_encoder(artifact)
    rows: list[Encoded] = []
    recorded: list[Scores] = []
    for a, b, scores in real_pairs() if PAIRS.is_file() else golden_pairs(artifact):
        try:
            rows += [encoder.encode(a, "chosen"), encoder.encode(b, "rejected")]
        except InputTooLong:
            assert scores is None, "training left out what does not fit"
            continue
        assert scores is not None
        recorded.append(scores)
        if len(recorded) == NUM_PAIRS:
            break
    assert len(recorded) == NUM_PAIRS or not PAIRS.is_file()
    chosen, rejected = np.array(recorded, dtype=np.float32).transpose(1, 0, 2)
    return Pairs(rows, chosen - rejected)


def real_pairs() -> Iterator[tuple[Conversation, Conversation, Scores | None]]:
    """Of the sources that it was trained on, with what training wrote down of each; None: it is too long."""
    lines = (DEFAULT_MODEL / "scores.jsonl").read_text("utf-8").splitlines()
    recorded = {line["id"]: line["raw"] for line in map(json.loads, lines) if line["split"] == "valid"}
    with gzip.open(PAIRS, "rt", encoding="utf-8") as data:
        for pair in map(json.loads, data):
            if pair["id"] in recorded:
                prompt = tuple(Message(m["role"], m["content"]) for m in pair["prompt"])
                chosen, rejected = (Conversation(prompt, pair[side]) for side in ("chosen", "rejected"))
                yield chosen, rejected, recorded[pair["id"]]


def golden_pairs(artifact: Artifact) -> Iterator[tuple[Conversation, Conversation, Scores]]:
    for a, b in itertools.combinations(read_golden(artifact), 2):
        yield a.conversation, b.conversation, (a.raw, b.raw)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("export") / "default"
    assert export_command(["--model", str(DEFAULT_MODEL), "--output", str(folder)]) == 0
    return str(folder)


def margins(source: str, backend: str, dtype: str, rows: list[Encoded]) -> NDArray[np.float32]:
    """float32 [pairs, heads]: chosen less rejected. A conversation of several pairs is scored once."""
    keys = [(row.input_ids.tobytes(), row.prefix_len) for row in rows]
    unique = dict(zip(keys, rows, strict=True))
    given = list(unique.values())
    model = load_backend(ModelSpec("m", source, backend, dtype), read_artifact(source))
    found = np.concatenate([model.forward(given[i : i + 16])[0] for i in range(0, len(given), 16)])
    model.close()
    assert np.isfinite(found).all()
    by_key = dict(zip(unique, found, strict=True))
    scores = np.array([by_key[key] for key in keys], dtype=np.float32)
    return scores[::2] - scores[1::2]


def agreement(a: NDArray[np.float32], b: NDArray[np.float32]) -> list[float]:
    """Share of pairs ordered alike, by head."""
    return [float(x) for x in (np.sign(a) == np.sign(b)).mean(axis=0)]


@pytest.mark.timeout(900)  # where bf16 is emulated
def test_bf16_keeps_the_order(pairs: Pairs) -> None:
    found = agreement(pairs.fp32, margins(str(DEFAULT_MODEL), "torch", "bfloat16", pairs.rows))
    assert min(found) >= AGREEMENT, found


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_int8_keeps_the_order(backend: str, pairs: Pairs, exported: str) -> None:
    found = agreement(pairs.fp32, margins(exported, backend, "int8", pairs.rows))
    assert min(found) >= AGREEMENT, found


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_fp32_is_within_1e_4_of_the_record(backend: str, pairs: Pairs, exported: str) -> None:
    few = pairs.rows[:100]
    assert np.abs(margins(exported, backend, "float32", few) - pairs.fp32[:50]).max() <= 2e-4
