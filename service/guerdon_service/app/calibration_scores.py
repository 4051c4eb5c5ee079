"""Held-out preferences with the raw scores that a model gives them, for ``guerdon calibrate``."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guerdon_service.app.loader import load_backend
from guerdon_service.core.artifact import Artifact, ModelSpec
from guerdon_service.core.conversation import check_conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import Encoder
from guerdon_service.evaluation.item import Item
from guerdon_service.evaluation.table import ItemTable, build_table
from guerdon_service.tokenization.encoder import load_encoder

MAX_BATCH_TOKENS = 4096
"""Of one forward; a longer conversation has one of its own. The scores are the same whatever it is."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Items that a model scored.

    raw: float32 [R, H], R responses of all items in order, heads in the manifest's.
    left_out: why, for each item that the model does not take; it is not among the items.
    """

    table: ItemTable
    raw: NDArray[np.float32]
    left_out: tuple[str, ...]


def score_held_out(
    artifact: Artifact, items: Sequence[Item], device: str, progress: Callable[[int], object]
) -> HeldOut:
    """Raw scores in fp32 by the torch back end, as served.

    Args:
        device: ``cpu`` or ``cuda``.
        progress: called with the number of responses of each forward.

    Raises:
        InvalidInput: the model cannot be loaded, or takes none of the items.
    """
    encoder = load_encoder(artifact)
    taken: list[Item] = []
    rows: list[Encoded] = []
    left_out: list[str] = []
    for item in items:
        try:
            rows += _encode(encoder, item)
            taken.append(item)
        except InvalidInput as err:  # too long, or a role that the template refuses
            left_out.append(err.message)
    if not taken:
        raise InvalidInput(f"data holds no item that the model takes: {left_out[0]}", param="data")
    spec = ModelSpec(artifact.manifest.name, str(artifact.folder), device=device)
    backend = load_backend(spec, artifact)
    try:
        parts = []
        for batch in _batches(rows):
            parts.append(backend.forward(batch)[0])
            progress(len(batch))
    finally:
        backend.close()
    return HeldOut(build_table(taken), np.concatenate(parts), tuple(left_out))


def _encode(encoder: Encoder, item: Item) -> list[Encoded]:
    encoded = []
    for i, conversation in enumerate(item.conversations()):
        param = f"{item.id}.responses[{i}]"
        check_conversation(conversation, f"{item.id}.prompt", param)
        encoded.append(encoder.encode(conversation, param))
    return encoded


def _batches(rows: Sequence[Encoded]) -> Iterator[list[Encoded]]:
    batch: list[Encoded] = []
    num_tokens = 0
    for row in rows:
        if batch and num_tokens + row.num_tokens > MAX_BATCH_TOKENS:
            yield batch
            batch, num_tokens = [], 0
        batch.append(row)
        num_tokens += row.num_tokens
    yield batch
