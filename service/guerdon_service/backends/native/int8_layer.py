"""A BERT-shaped encoder's layer in int8 on AMX: its attention, and two calls for all else."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from guerdon_service.backends.attention import JointAttention
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.int8_folding import (
    Affine,
    FoldedFeedForward,
    folded_attention,
    folded_feed_forward,
)
from guerdon_service.backends.int8_linear import narrowed, zero_point
from guerdon_service.backends.native.encoder_layer import norm_step
from guerdon_service.backends.native.library import tiles
from guerdon_service.backends.native.rows import RowSteps
from guerdon_service.backends.native.steps import ZERO, Multiply, Quantise, Step
from guerdon_service.backends.native.weight import BLOCK, TiledWeight


def is_tiled_int8(config: PreTrainedConfig) -> bool:
    """Whether `TiledInt8Layer` takes the layers of a model that `int8.takes_int8`."""
    sizes = (config.hidden_size, config.intermediate_size)
    return tiles() is not None and zero_point() == ZERO and not any(size % BLOCK for size in sizes)


class TiledInt8Layer(nn.Module):
    """What one layer of the trunk computes: [1, T, hidden] to bf16 of the same.

    Between its products rows are bf16, as are the inner channels that are multiplied apart.

    Args:
        layer: of BERT, RoBERTa or XLM-R, in fp32, with the exact GELU.
        ranges: lowest and highest value of each channel, as `int8_ranges.LayerRanges`.
    """

    def __init__(self, layer: Any, ranges: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._attend = JointAttention(layer.attention.self)
        folded, inner = folded_attention(layer, ranges), folded_feed_forward(layer, ranges)
        size = len(folded.factor)
        qkv = _weight(folded.qkv)
        self._num_qkv = qkv.outputs
        before = (Quantise("rows", "entering", size, folded.factor), Multiply(qkv, "entering", "qkv"))
        self._before = RowSteps(before, {"rows": size})
        after = (
            Quantise("seen", "context", size),
            Multiply(_weight(folded.out), "context", "middle", "plus", other="rows"),
            norm_step(layer.attention.output.LayerNorm, "middle", "middle"),
            *_feed_forward(inner, size),
            norm_step(layer.output.LayerNorm, "out", "out"),
        )
        self._after = RowSteps(after, {"rows": size, "seen": size})

    def forward(self, hidden: Tensor, *_: Any, packed: PackedMasks, **__: Any) -> Tensor:
        """The next layer's input."""
        rows = hidden[0].bfloat16()
        qkv = rows.new_empty(len(rows), self._num_qkv)
        self._before(rows=rows, qkv=qkv)
        seen = self._attend(qkv, packed)
        out = torch.empty_like(rows)
        self._after(rows=rows, seen=seen, out=out)
        return out[None]


def _feed_forward(inner: FoldedFeedForward, size: int) -> tuple[Step, ...]:
    """``middle + down(gelu(up(middle)))`` to ``out``."""
    apart = TiledWeight.bf16(inner.apart.weight, inner.apart.bias)
    again, units = inner.again.to(torch.int32), (inner.scale, inner.zero)
    return (
        Multiply(apart, "middle", "apart", "gelu"),
        Multiply(TiledWeight.bf16(inner.apart_down), "apart", "out", "plus", other="middle"),
        Quantise("middle", "entering", size, inner.factor, inner.offset, again),
        Multiply(_weight(inner.up), "entering", "active", "gelu_uint8", None, *units),
        Multiply(_weight(inner.down, *units), "active", "out", "plus", other="out"),
    )


def _weight(of: Affine, scale: float = 1.0, zero: int | None = None) -> TiledWeight:
    """For rows in units of `scale` from `zero` on; None takes `zero_point`."""
    values, scales = narrowed(of.weight)
    from_zero = values.double().sum(1) * (zero_point() if zero is None else zero)
    bias = of.bias.double() - from_zero * scales.double() * scale
    return TiledWeight.int8(values, scales * scale, bias.float())
