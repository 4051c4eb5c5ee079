"""What the model can do without a service: loops over tokenized items, and nothing else."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from guerdon_service.app.bench.texts import Item
from guerdon_service.app.loader import load_backend
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.backends.load import load_reference
from guerdon_service.core.artifact import Artifact, ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.ports import Backend
from guerdon_service.tokenization.encoder import load_encoder

PADDED_BATCH = 16
"""Rows of a padded batch: a common default, near the best of 8, 16, 32 and 64 on two cores."""


@dataclass(frozen=True, slots=True)
class Bare:
    """One model in this process."""

    artifact: Artifact
    backend: Backend
    dtype: str

    @staticmethod
    def load(source: str, backend: str, dtype: str) -> "Bare":
        """Load through the service's own loader, without a certificate."""
        artifact = read_artifact(source)
        return Bare(artifact, load_backend(ModelSpec("bench", source, backend, dtype), artifact), dtype)

    def encode(self, items: Sequence[Item]) -> list[Encoded]:
        """Tokens of all items."""
        encoder = load_encoder(self.artifact)
        return [encoder.encode(Conversation.of(i.prompt, i.response), "item") for i in items]

    def packed_tokens_per_s(self, encoded: Sequence[Encoded], max_batch_tokens: int) -> float:
        """The back end's forward over batches filled to the token budget, in order."""
        started = time.perf_counter()
        for batch in _budgeted(encoded, max_batch_tokens):
            self.backend.forward(batch)
        return sum(e.num_tokens for e in encoded) / (time.perf_counter() - started)


def padded_tokens_per_s(model: PreTrainedModel, encoded: Sequence[Encoded]) -> float:
    """The usual loop: sort by length, pad to the longest of each batch, mask."""
    ordered = sorted(encoded, key=lambda e: e.num_tokens)
    started = time.perf_counter()
    with torch.inference_mode():
        for i in range(0, len(ordered), PADDED_BATCH):
            batch = ordered[i : i + PADDED_BATCH]
            longest = batch[-1].num_tokens
            ids = torch.zeros(len(batch), longest, dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, e in enumerate(batch):
                ids[row, : e.num_tokens] = torch.from_numpy(e.input_ids)
                mask[row, : e.num_tokens] = 1
            model(input_ids=ids, attention_mask=mask)
    return sum(e.num_tokens for e in encoded) / (time.perf_counter() - started)


def padded_model(artifact: Artifact) -> PreTrainedModel:
    """Plain `transformers` in fp32 with its fastest CPU attention."""
    model = load_reference(artifact)
    model.set_attn_implementation("sdpa")
    return model


def _budgeted(encoded: Sequence[Encoded], max_batch_tokens: int) -> list[list[Encoded]]:
    batches: list[list[Encoded]] = [[]]
    filled = 0
    for e in encoded:
        if batches[-1] and filled + e.num_tokens > max_batch_tokens:
            batches.append([])
            filled = 0
        batches[-1].append(e)
        filled += e.num_tokens
    return batches
