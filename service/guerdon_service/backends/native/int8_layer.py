"""A BERT-shaped encoder's layer in int8 on AMX: its attention, and two calls for all else."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from guerdon_service.backends.int8_folding import (
    Affine,
    FoldedFeedForward,
    folded_attention,
    folded_feed_forward,
)
from guerdon_service.backends.int8_linear import narrowed, zero_point
from guerdon_service.backends.native.encoder_layer import TiledEncoderLayer, norm_step
from guerdon_service.backends.native.library import has_tiles
from guerdon_service.backends.native.steps import ZERO, Multiply, Quantise, Step
from guerdon_service.backends.native.weight import BLOCK, TiledWeight


def is_tiled_int8(config: PreTrainedConfig) -> bool:
    """Whether `tiled_int8_layer` takes the layers of a model that `int8.takes_int8`."""
    sizes = (config.hidden_size, config.intermediate_size)
    return has_tiles() and zero_point() == ZERO and not any(size % BLOCK for size in sizes)


def tiled_int8_layer(layer: Any, ranges: Mapping[str, Tensor]) -> TiledEncoderLayer:
    """What one layer of the trunk computes.

    Between its products rows are bf16, as are the inner channels that are multiplied apart.

    Args:
        layer: of BERT, RoBERTa or XLM-R, in fp32, with the exact GELU.
        ranges: lowest and highest value of each channel, as `int8_ranges.LayerRanges`.
    """
    folded, inner = folded_attention(layer, ranges), folded_feed_forward(layer, ranges)
    size = len(folded.factor)
    before = (
        Quantise("rows", "entering", size, folded.factor),
        Multiply(_weight(folded.qkv), "entering", "qkv"),
    )
    after = (
        Quantise("seen", "context", size),
        Multiply(_weight(folded.out), "context", "middle", "plus", other="rows"),
        norm_step(layer.attention.output.LayerNorm, "middle", "middle"),
        *_feed_forward(inner, size),
        norm_step(layer.output.LayerNorm, "out", "out"),
    )
    return TiledEncoderLayer(layer.attention.self, before, after)


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
