"""A BERT-shaped encoder's layer in bf16 on AMX: its attention, and two calls for all else."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from guerdon_service.backends.attention import JointAttention
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.native.library import takes_tiles
from guerdon_service.backends.native.rows import RowSteps
from guerdon_service.backends.native.steps import Multiply, Norm, Step
from guerdon_service.backends.native.weight import BLOCK, TiledWeight
from guerdon_service.backends.prepacked_linear import joined


def is_tiled_encoder(layer: Any) -> bool:
    """Whether `TiledEncoderLayer` takes a layer of which `is_encoder_layer` is true."""
    weight = layer.intermediate.dense.weight
    return takes_tiles(weight) and not any(size % BLOCK for size in weight.shape)


class TiledEncoderLayer(nn.Module):
    """What a layer computes: attention, and steps before and after it.

    Args:
        own: what a layer of BERT, RoBERTa or XLM-R attends with, of `transformers`.
        before: makes ``qkv`` [T, 3 * hidden] of ``rows`` [T, hidden].
        after: makes ``out`` of ``rows`` and ``seen``, what attention answers, [T, hidden] each.
    """

    def __init__(self, own: Any, before: Sequence[Step], after: Sequence[Step]) -> None:
        super().__init__()
        self.attend = JointAttention(own)
        size = own.query.in_features
        self.before = RowSteps(before, {"rows": size})
        self.after = RowSteps(after, {"rows": size, "seen": size})

    def forward(self, hidden: Tensor, *_: Any, packed: PackedMasks, **__: Any) -> Tensor:
        """Hidden states bf16 [1, T, hidden] after the layer."""
        rows = hidden[0]
        qkv, out = rows.new_empty(len(rows), 3 * rows.shape[1]), torch.empty_like(rows)
        self.before(rows=rows, qkv=qkv)
        self.after(rows=rows, seen=self.attend(qkv, packed), out=out)
        return out[None]


def tiled_encoder_layer(layer: Any) -> TiledEncoderLayer:
    """Of a layer in bf16 of `transformers` of which `is_tiled_encoder` is true."""
    own, out = layer.attention.self, layer.attention.output
    up, down = (TiledWeight.of(each.dense) for each in (layer.intermediate, layer.output))
    before = (Multiply(TiledWeight.of(joined([own.query, own.key, own.value])), "rows", "qkv"),)
    after = (
        Multiply(TiledWeight.of(out.dense), "seen", "middle", "plus", other="rows"),
        norm_step(out.LayerNorm, "middle", "middle"),
        Multiply(up, "middle", "active", "gelu"),
        Multiply(down, "active", "out", "plus", other="middle"),
        norm_step(layer.output.LayerNorm, "out", "out"),
    )
    return TiledEncoderLayer(own, before, after)


def norm_step(norm: nn.LayerNorm, source: str, to: str) -> Norm:
    """A layer norm of rows."""
    return Norm(norm.weight.data.float(), norm.bias.data.float(), norm.eps, source, to)
