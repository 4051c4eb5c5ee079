"""What an exported graph is compared on: real conversations, and rows of random tokens of many lengths."""

import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from guerdon_service.artifacts.golden import read_golden
from guerdon_service.backends.safe import read_config
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.conversation import Conversation, Message, check_conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InputTooLong, InvalidInput
from guerdon_service.core.ports import Encoder
from guerdon_service.scoring.certificate import PROBES
from guerdon_service.tokenization.encoder import load_encoder

LENGTHS = (2, 3, 5, 8, 13, 17, 33, 64, 65, 129, 257, 511)
"""Tokens of the random rows; the model's longest is added."""
LONGEST_TOKENS = 2048
"""Eager attention of the reference takes memory in the square of the length."""
_MAX_PAIRS = 500

_CALIBRATION_PAIRS = 32
"""Pairs of the user's file that set the channels' ranges; the others are compared."""

Pair = tuple[Encoded, Encoded]


@dataclass(frozen=True, slots=True)
class Probes:
    """rows: fp32 is compared on them. calibration: set int8's ranges. pairs: whose order int8 must keep."""

    rows: list[Encoded]
    calibration: list[Encoded]
    pairs: list[Pair]


def read_probes(artifact: Artifact, calibration: Path | None) -> Probes:
    """Golden conversations, the certificate's probes and random rows; pairs from `calibration` where given.

    Raises:
        InvalidInput: `calibration` cannot be read, or has too few usable pairs.
    """
    encoder = load_encoder(artifact)
    config = read_config(artifact.base_folder, len(artifact.manifest.heads))
    texts = _conversations(artifact, encoder)
    rows = _random_rows(artifact, config.vocab_size)
    pairs = _read_pairs(calibration, encoder) if calibration is not None else []
    if len(pairs) > _CALIBRATION_PAIRS:
        seen = [encoded for pair in pairs[:_CALIBRATION_PAIRS] for encoded in pair]
        return Probes(texts + rows, seen, pairs[_CALIBRATION_PAIRS:])
    if calibration is not None:
        raise InvalidInput(
            f"calibration has {len(pairs)} usable pairs; give more than {_CALIBRATION_PAIRS}",
            param="calibration",
        )
    both = texts + rows
    return Probes(both, texts, [(a, b) for i, a in enumerate(both) for b in both[:i]])


def _random_rows(artifact: Artifact, vocabulary: int) -> list[Encoded]:
    """Rows of random tokens, 2 tokens to the longest that the model takes."""
    longest = min(artifact.manifest.max_tokens, LONGEST_TOKENS)
    draw = np.random.default_rng(0)
    lengths = [n for n in LENGTHS if n < longest] + [longest]
    return [
        Encoded(draw.integers(0, vocabulary, n).astype(np.int32), max(1, n // 2), truncated=False)
        for n in lengths
    ]


def _conversations(artifact: Artifact, encoder: Encoder) -> list[Encoded]:
    """The artifact's golden conversations and the certificate's probes, as far as they fit."""
    found = [golden.conversation for golden in read_golden(artifact)]
    encoded = []
    for conversation in (*found, *PROBES):
        with suppress(InputTooLong):
            encoded.append(encoder.encode(conversation, "probe"))
    return encoded


def _read_pairs(path: Path, encoder: Encoder) -> list[Pair]:
    """Chosen and rejected responses of a file of preference records, JSONL or JSONL.gz; at most 500.

    Pairs whose responses are too long for the model are left out.

    Raises:
        InvalidInput: a line that is no preference record; it is named.
    """
    pairs: list[Pair] = []
    for number, line in enumerate(_lines(path), start=1):
        if len(pairs) == _MAX_PAIRS:
            break
        chosen, rejected = _record(line, f"{path.name}:{number}")
        with suppress(InputTooLong):
            pairs.append((encoder.encode(chosen, "chosen"), encoder.encode(rejected, "rejected")))
    return pairs


def _lines(path: Path) -> Iterator[str]:
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8") as file
        ):
            yield from (line for line in file if line.strip())
    except (OSError, UnicodeDecodeError) as err:
        raise InvalidInput(
            f"calibration {path.name} cannot be read ({type(err).__name__}); give preference records "
            "as JSONL",
            param="calibration",
        ) from err


def _record(line: str, where: str) -> tuple[Conversation, Conversation]:
    try:
        data = json.loads(line)
        prompt = data["prompt"]
        turns = prompt if isinstance(prompt, str) else tuple(Message(m["role"], m["content"]) for m in prompt)
        pair = tuple(Conversation.of(turns, _text(data[side])) for side in ("chosen", "rejected"))
        for side, conversation in zip(("chosen", "rejected"), pair, strict=True):
            check_conversation(conversation, f"{where}.prompt", f"{where}.{side}")
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as err:
        raise InvalidInput(
            f"calibration {where} is no preference record ({type(err).__name__}: {err}); write prompt, "
            "chosen and rejected",
            param="calibration",
        ) from err
    return pair[0], pair[1]


def _text(response: str | list[dict[str, str]]) -> str:
    """A response as text, or as a list of one turn."""
    return response if isinstance(response, str) else response[-1]["content"]
