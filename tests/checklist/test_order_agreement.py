"""Lower precision keeps the order: the default model on 500 real pairs, against its own fp32."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from guerdon_service.app.export import export_command
from guerdon_service.app.loader import load_backend
from guerdon_service.artifacts.golden import read_golden
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.artifacts.resolve import DEFAULT_MODEL
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InputTooLong
from guerdon_service.tokenization.encoder import load_encoder

PAIRS = Path(__file__).parents[3] / "shared" / "data" / "pairs_valid.jsonl.gz"
NUM_PAIRS = 500
AGREEMENT = 0.98


@pytest.fixture(scope="module")
def rows() -> list[Encoded]:
    """Chosen and rejected of each pair in turn; without the data, every two golden conversations."""
    artifact = read_artifact(str(DEFAULT_MODEL))
    encoder = load_encoder(artifact)
    if not PAIRS.is_file():
        golden = [encoder.encode(g.conversation, "golden") for g in read_golden(artifact)]
        return [side for i, a in enumerate(golden) for b in golden[i + 1 :] for side in (a, b)]
    encoded: list[Encoded] = []
    for a, b in real_pairs():
        try:
            encoded += [encoder.encode(a, "chosen"), encoder.encode(b, "rejected")]
        except InputTooLong:
            continue
        if len(encoded) == 2 * NUM_PAIRS:
            break
    assert len(encoded) == 2 * NUM_PAIRS
    return encoded


def real_pairs() -> Iterator[tuple[Conversation, Conversation]]:
    with gzip.open(PAIRS, "rt", encoding="utf-8") as lines:
        for line in lines:
            pair = json.loads(line)
            prompt = tuple(Message(m["role"], m["content"]) for m in pair["prompt"])
            yield Conversation(prompt, pair["chosen"]), Conversation(prompt, pair["rejected"])


@pytest.fixture(scope="module")
def fp32(rows: list[Encoded]) -> NDArray[np.float32]:
    return margins(str(DEFAULT_MODEL), "torch", "float32", rows)


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
def test_bf16_keeps_the_order(rows: list[Encoded], fp32: NDArray[np.float32]) -> None:
    found = agreement(fp32, margins(str(DEFAULT_MODEL), "torch", "bfloat16", rows))
    assert min(found) >= AGREEMENT, found


@pytest.mark.parametrize("backend", ["onnxruntime", "torch"])
def test_int8_keeps_the_order(
    backend: str, rows: list[Encoded], fp32: NDArray[np.float32], exported: str
) -> None:
    found = agreement(fp32, margins(exported, backend, "int8", rows))
    assert min(found) >= AGREEMENT, found


def test_onnx_fp32_is_within_1e_4(rows: list[Encoded], exported: str, fp32: NDArray[np.float32]) -> None:
    few = rows[:100]
    assert np.abs(margins(exported, "onnxruntime", "float32", few) - fp32[:50]).max() <= 2e-4
