"""Weights of a BERT-shaped encoder's layer as int8 products want them: what tames the rows is folded in.

Input channels are smoothed (SmoothQuant, Xiao et al. 2023, arXiv:2211.10438, equation 4): what divides a
channel is folded into the multiplication that quantises it, or into the value product before it. A few inner
channels of the feed-forward part are large in one token of each conversation and small elsewhere, and would
take the scale for themselves: those are multiplied apart, in floating point (LLM.int8(), Dettmers et al.
2022, arXiv:2208.07339, section 3.2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from guerdon_service.backends.int8_linear import zero_point
from guerdon_service.backends.prepacked_linear import joined

SMOOTHING = {"hidden": 0.7, "context": 0.7, "middle": 0.6}
"""Share of a channel's range that moves to the weights: measured best of 0.4 to 0.8 for each on MiniLM."""
APART = 8
"""Inner channels that are multiplied apart; on MiniLM one or two a layer need it."""
SPLITS = 4
"""Columns that channels of the feed-forward input get beside their own; a multiple of 4: VNNI adds four."""
ONE_SIDED = 0.5
"""A channel whose middle is further from 0 than this share of half its range is centred."""
_GELU_LEAST = -0.17
_TINY = 1e-5
"""Least range of a channel; those that calibration never saw move are not blown up."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """``rows @ weight.T + bias``, fp32 [out, in] and [out]."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class FoldedAttention:
    """Products before and after attention.

    Args:
        factor: fp32 [hidden]; rows are multiplied by it where they are quantised.
        qkv: query, key and value in one; values come out as they are quantised.
    """

    factor: Tensor
    qkv: Affine
    out: Affine


@dataclass(frozen=True, slots=True, eq=False)
class FoldedFeedForward:
    """``down(gelu(up(rows)))``.

    Args:
        factor, offset: fp32 [hidden]; rows are quantised as ``rows * factor + offset``.
        again: int64 [SPLITS], columns of the quantised rows that come once more after the last.
        up: of these columns. down: nothing comes from channels that are multiplied apart.
        scale, zero: of the GELU's answer in uint8.
        apart, apart_down: the layers of the channels apart, and fp32 [hidden, APART].
    """

    factor: Tensor
    offset: Tensor
    again: Tensor
    up: Affine
    down: Affine
    scale: float
    zero: int
    apart: Affine
    apart_down: Tensor


def folded_attention(layer: Any, ranges: Mapping[str, Tensor]) -> FoldedAttention:
    """Of a layer of BERT, RoBERTa or XLM-R in fp32, and `int8_ranges.LayerRanges`."""
    own, out = layer.attention.self, layer.attention.output.dense
    joint = joined([own.query, own.key, own.value])
    by_input = _divisors(_reach(ranges["hidden"]), "hidden", joint.weight)
    by_context = _divisors(_reach(ranges["context"]), "context", out.weight)
    queries_and_keys = torch.ones(len(joint.weight) - len(by_context))
    unit = torch.cat([queries_and_keys, by_context])
    qkv = Affine(joint.weight * by_input / unit[:, None], joint.bias / unit)
    return FoldedAttention(1 / by_input, qkv, Affine(out.weight * by_context, out.bias))


def folded_feed_forward(layer: Any, ranges: Mapping[str, Tensor]) -> FoldedFeedForward:
    """Of a layer of BERT, RoBERTa or XLM-R in fp32, and `int8_ranges.LayerRanges`."""
    up, down = layer.intermediate.dense, layer.output.dense
    centre = _centre(*ranges["middle"])
    reach = _reach(ranges["middle"] - centre)
    parts = _parts(reach, up.weight)
    divisors = _divisors(reach / parts, "middle", up.weight)
    largest = ranges["active"][1]
    apart = largest.topk(min(APART, up.out_features)).indices
    within = torch.ones(up.out_features).index_fill_(0, apart, 0.0)
    highest = float((largest * within).max().clamp_min(_TINY))
    scale = (highest - _GELU_LEAST) / (2 * zero_point() - 1)
    again = torch.arange(up.in_features).repeat_interleave(parts - 1)
    columns = torch.cat((torch.arange(up.in_features), again))
    factor = 1 / (parts * divisors)
    return FoldedFeedForward(
        factor,
        -centre * factor,
        again,
        Affine((up.weight * divisors)[:, columns], up.bias + up.weight @ centre),
        Affine(down.weight * within, down.bias),
        scale,
        round(-_GELU_LEAST / scale),
        Affine(up.weight[apart], up.bias[apart]),
        down.weight[:, apart].contiguous(),
    )


def _reach(ranges: Tensor) -> Tensor:
    """fp32 [in]: largest magnitude of channels between lowest and highest, [2, in]."""
    return ranges.abs().amax(0).clamp_min(_TINY)


def _centre(lowest: Tensor, highest: Tensor) -> Tensor:
    """fp32 [in]: the middle of channels that lie on one side of 0, more or less; 0 of the others.

    (Outlier Suppression+, Wei et al. 2023, arXiv:2304.09145, section 3.2.) To centre them all narrows what
    calibration saw to where another conversation is clipped.
    """
    centre = (lowest + highest) / 2
    return torch.where(centre.abs() > ONE_SIDED * (highest - lowest) / 2, centre, 0.0)


def _parts(reach: Tensor, weight: Tensor) -> Tensor:
    """int64 [in]: in how many equal parts, each times its weights, a channel goes that would set the scale.

    (Outlier channel splitting, Zhao et al. 2019, arXiv:1901.09504.) All of them have `SPLITS` more than one.
    """
    need = reach * weight.abs().amax(0)
    parts = torch.ones(len(need), dtype=torch.int64)
    for _ in range(SPLITS):
        parts[(need / parts).argmax()] += 1
    return parts


def _divisors(reach: Tensor, name: str, weight: Tensor) -> Tensor:
    """fp32 [in]: channels within `reach` divided by their own lie in ``1 - zero_point .. zero_point - 1``."""
    largest = weight.abs().amax(0).clamp_min(_TINY)
    share = SMOOTHING[name]
    smooth = reach**share / largest ** (1 - share)
    return smooth * (reach / smooth).max() / (zero_point() - 1)
