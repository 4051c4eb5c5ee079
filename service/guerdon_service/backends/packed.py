"""The packed forward: a whole batch as one row, without padding between sequences.

A score is bit for bit the same alone and in any batch, because every operation is one of
 - a matrix product with a multiple of `ROW_MULTIPLE` rows, where a row's bits do not depend on the others,
   or of one row on one thread,
 - elementwise or a reduction inside one row,
 - attention inside one segment (see `attention`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.attention_tiles import TileKernel
from guerdon_service.backends.families import family_of, head_logits, pool_of
from guerdon_service.backends.layout import Layout, Segment, plan_layout
from guerdon_service.backends.native.head import is_head_taken
from guerdon_service.backends.placed import placed
from guerdon_service.backends.pooling import pooled_index, pooled_response
from guerdon_service.backends.threads import on_threads
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.manifest import Manifest

ROW_MULTIPLE = 8
"""Rows are padded to a multiple of this: fp32 products with fewer than 8 rows take other kernels."""
_STEPS = ((512, 32), (256, 16))
"""Above so many rows, forwards have a multiple of so many."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the trunk reads for one conversation: int64 [num_tokens] each; `types` may be None."""

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    types: NDArray[np.int64] | None


def inputs_of(model: PreTrainedModel, manifest: Manifest, encoded: Encoded) -> Inputs:
    """Ids, positions and token types exactly as `transformers` makes them for one unpadded row."""
    config = model.config
    ids = encoded.input_ids.astype(np.int64)
    positions = np.arange(len(ids))
    if family_of(config).padding_positions:
        kept = ids != config.pad_token_id
        positions = np.cumsum(kept) * kept + config.pad_token_id
    types = None
    if manifest.encoding == "pair" and getattr(config, "type_vocab_size", 0) > 1:
        types = (np.arange(len(ids)) >= encoded.prefix_len).astype(np.int64)
    return Inputs(ids, positions, types)


class Trunk(Protocol):
    """Computes hidden states where nobody looks how: `trunk_graphs` on CUDA, `encoder_trunk` on AMX."""

    def __call__(self, inputs: Inputs, segments: Sequence[Segment]) -> Tensor | None:
        """Last hidden states [T, hidden] of a packed row; None where it does not take these segments."""


def packed_logits(
    model: PreTrainedModel,
    manifest: Manifest,
    batch: Sequence[Encoded],
    fixed_rows: int | None,
    kernel: TileKernel | None = None,
    trunk: Trunk | None = None,
) -> tuple[Tensor, int]:
    """Raw logits fp32 [B, H] of a batch, and the rows computed, padding included.

    Args:
        fixed_rows: T of every forward (CUDA, where kernels are chosen by shape); None: the next multiple
            of `ROW_MULTIPLE`.
        kernel: attends to all conversations at once; None: one by one.
        trunk: is asked first; None: the model's own computes every batch.
    """
    layout = plan_layout(batch, split=family_of(model.config).causal)
    inputs = packed_inputs(model, manifest, batch, layout.source)
    hidden = trunk(inputs, layout.segments) if trunk is not None else None
    if hidden is None:
        hidden = trunk_states(model, inputs, PackedMasks(layout.segments, kernel=kernel), fixed_rows)
    return pooled_logits(model, pooled(model, manifest, batch, layout, hidden)), hidden.shape[0]


def pooled_logits(model: PreTrainedModel, rows: Tensor) -> Tensor:
    """Raw logits fp32 [N, H] of pooled rows [N, hidden], which are fp32.

    On CPU one row at a time, on one thread: MKL's small products depend on a row's place among others, and
    wide ones on the number of threads (seen on AVX-512 without AMX). Those of `native.head` do not: all rows
    at once. On a GPU `ROW_MULTIPLE` rows at a time.
    """
    if rows.device.type == "cpu":
        with on_threads(1):
            parts = (rows,) if is_head_taken(model) else rows.split(1)
            return torch.cat([head_logits(model, part) for part in parts])
    padded = torch.zeros(padded_rows(len(rows)), rows.shape[1], dtype=torch.float32, device=rows.device)
    padded[: len(rows)] = rows
    chunks = [head_logits(model, chunk) for chunk in padded.split(ROW_MULTIPLE)]
    return torch.cat(chunks)[: len(rows)]


def packed_inputs(
    model: PreTrainedModel, manifest: Manifest, batch: Sequence[Encoded], source: NDArray[np.int64]
) -> Inputs:
    """What the trunk reads for the rows of `source`, which is as `Layout.source`."""
    inputs = [inputs_of(model, manifest, e) for e in batch]
    types = [i.types for i in inputs if i.types is not None]
    return Inputs(
        np.concatenate([i.ids for i in inputs])[source],
        np.concatenate([i.positions for i in inputs])[source],
        np.concatenate(types)[source] if types else None,
    )


def trunk_states(
    model: PreTrainedModel, inputs: Inputs, packed: PackedMasks, fixed_rows: int | None
) -> Tensor:
    """Last hidden states [T, hidden] of the packed row that `packed` has segments for."""
    size = fixed_rows or padded_rows(len(inputs.ids))
    rows = {name: placed(row, model.device) for name, row in model_rows(inputs, size).items()}
    return run_trunk(model, rows, packed)


def model_rows(inputs: Inputs, size: int) -> dict[str, NDArray[np.int64]]:
    """Arguments of the trunk: int64 [1, size] each, zeros in padding."""
    assert size >= len(inputs.ids), "a pack holds more tokens than its fixed rows"
    rows = {"input_ids": inputs.ids, "position_ids": inputs.positions}
    if inputs.types is not None:
        rows["token_type_ids"] = inputs.types
    return {name: np.pad(row, (0, size - len(row)))[None] for name, row in rows.items()}


def run_trunk(model: PreTrainedModel, rows: Mapping[str, Tensor], packed: PackedMasks) -> Tensor:
    """Last hidden states [T, hidden] of the arguments that `model_rows` names."""
    # else each layer would copy its keys and values to keep them
    without = {"use_cache": False} if family_of(model.config).causal else {}
    return model.base_model(**rows, **without, packed=packed).last_hidden_state[0]  # type: ignore[no-any-return]


def pooled(
    model: PreTrainedModel, manifest: Manifest, batch: Sequence[Encoded], layout: Layout, hidden: Tensor
) -> Tensor:
    """Pooled rows fp32 [B, hidden] of the packed row's hidden states."""
    if manifest.pooling == "response":
        return torch.stack([pooled_response(hidden[p.response : p.end]) for p in layout.places])
    pool = pool_of(model.config)
    if pool == "mean" and manifest.pooling == "model":
        return torch.stack([hidden[s.start : s.end].float().mean(0) for s in layout.segments])
    rows = [
        place.row(pooled_index(e.input_ids, model.config.pad_token_id, pool, manifest.pooling))
        for e, place in zip(batch, layout.places, strict=True)
    ]
    return hidden[placed(np.array(rows), hidden.device)].float()


def padded_rows(size: int) -> int:
    """Rows of a forward that holds `size`: few different numbers, since oneDNN makes code for each it meets.

    That took 3 to 14 ms a product in bf16 on AMX, before kernels of our own. At most 31 rows are padding; of
    full batches 0.8 % were.
    """
    step = next((step for least, step in _STEPS if size > least), ROW_MULTIPLE)
    return -(-size // step) * step
