"""Artifacts around tiny model folders, and token ids to score. No tokenizer is involved."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from guerdon_service.artifacts.digest import file_digests
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.manifest import Head, Manifest, Profile
from tests.tiny import DECODERS, VOCAB_SIZE, tiny

NUM_SPECIAL = 6
"""Token ids below this are special in some family."""


def artifact_of(folder: Path, num_heads: int = 1, adapter: Path | None = None, **manifest: Any) -> Artifact:
    """An artifact with heads ``h0``, ``h1``, ...; `manifest` overrides fields."""
    heads = tuple(Head(f"h{i}", f"h{i}") for i in range(num_heads))
    plain = Manifest("tiny", "1", heads, {"default": Profile({"h0": 1.0})}, max_tokens=512, digest="d" * 64)
    return Artifact(folder, folder, adapter, replace(plain, **manifest), sha256_of(folder, adapter))


def sha256_of(*folders: Path | None) -> dict[Path, str]:
    """As `read_artifact` finds them."""
    return {f / name: d for f in folders if f is not None for name, d in file_digests(f).items()}


def tiny_artifact(arch: str, num_heads: int = 1, **manifest: Any) -> Artifact:
    """Artifact of `tests.tiny.tiny`: template encoding for decoders, pair for encoders."""
    encoding = "template" if arch in DECODERS else "pair"
    return artifact_of(tiny(arch, num_labels=num_heads), num_heads, **{"encoding": encoding} | manifest)


def sequence(length: int, seed: int = 0, prefix_len: int | None = None) -> Encoded:
    """Random ordinary tokens; the first half is the prompt unless `prefix_len` says otherwise."""
    ids = np.random.default_rng(seed * 1009 + length).integers(NUM_SPECIAL, VOCAB_SIZE - 60, length)
    return Encoded(ids.astype(np.int32), prefix_len or max(1, length // 2), truncated=False)


def answers(prompt_len: int, lengths: tuple[int, ...], seed: int = 0) -> list[Encoded]:
    """Responses of the given lengths to one prompt."""
    prompt = sequence(prompt_len, seed).input_ids
    return [
        Encoded(np.concatenate([prompt, sequence(n, seed + i + 1).input_ids]), prompt_len, truncated=False)
        for i, n in enumerate(lengths)
    ]


def edit_config(folder: Path, **fields: Any) -> None:
    """Set fields of `config.json`; None removes one."""
    edit_json(folder / "config.json", fields)


def edit_json(path: Path, fields: dict[str, Any]) -> None:
    """Set fields of a JSON file; None removes one."""
    data = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({k: v for k, v in data.items() if v is not None}))
