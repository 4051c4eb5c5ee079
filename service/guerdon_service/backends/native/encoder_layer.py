"""A BERT-shaped encoder's layer in bf16 on AMX: its attention, and two calls for all else."""

from typing import Any

import torch
from torch import Tensor, nn

from guerdon_service.backends.attention import JointAttention
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.native.library import takes_tiles
from guerdon_service.backends.native.linear import TiledLinear
from guerdon_service.backends.native.rows import RowSteps
from guerdon_service.backends.native.steps import Multiply, Norm
from guerdon_service.backends.native.weight import BLOCK, TiledWeight
from guerdon_service.backends.prepacked_linear import joined


def is_tiled_encoder(layer: Any) -> bool:
    """Whether `TiledEncoderLayer` takes a layer of which `is_encoder_layer` is true."""
    weight = layer.intermediate.dense.weight
    return takes_tiles(weight) and not any(size % BLOCK for size in weight.shape)


class TiledEncoderLayer(nn.Module):
    """What a layer of BERT, RoBERTa or XLM-R computes.

    Args:
        layer: of `transformers`; `is_tiled_encoder` is true of it.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        own, out = layer.attention.self, layer.attention.output
        self._attend = JointAttention(own)
        self._qkv = TiledLinear(joined([own.query, own.key, own.value]))
        up, down = (TiledWeight.of(each.dense) for each in (layer.intermediate, layer.output))
        steps = (
            Multiply(TiledWeight.of(out.dense), "seen", "middle", "plus", other="rows"),
            norm_step(out.LayerNorm, "middle", "middle"),
            Multiply(up, "middle", "active", "gelu"),
            Multiply(down, "active", "out", "plus", other="middle"),
            norm_step(layer.output.LayerNorm, "out", "out"),
        )
        self._steps = RowSteps(steps, {"seen": up.inputs, "rows": up.inputs})

    def forward(self, hidden: Tensor, *_: Any, packed: PackedMasks, **__: Any) -> Tensor:
        """Hidden states [1, T, hidden] after the layer."""
        rows = hidden[0]
        seen = self._attend(self._qkv(rows), packed)
        out = torch.empty_like(rows)
        self._steps(seen=seen, rows=rows, out=out)
        return out[None]


def norm_step(norm: nn.LayerNorm, source: str, to: str) -> Norm:
    """A layer norm of rows."""
    return Norm(norm.weight.data.float(), norm.bias.data.float(), norm.eps, source, to)
