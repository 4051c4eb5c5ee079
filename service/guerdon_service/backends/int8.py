"""BERT-shaped encoders whose products run in int8 on CPU, in ranges that ``guerdon export`` measured.

A layer quantises its input once and multiplies it by query, key and value in one product; uint8 goes from the
first product of the feed-forward part to the second. All scales are constants. Input channels are smoothed
(SmoothQuant, Xiao et al. 2023, arXiv:2211.10438, equation 4): what divides a channel is folded into the
multiplication that quantises it, or into the value product before it. A few inner channels of the
feed-forward part are large in one token of each conversation and small elsewhere, and would take the scale
for themselves: those are multiplied apart, in fp32 (LLM.int8(), Dettmers et al. 2022, arXiv:2208.07339,
section 3.2). The residual stream, norms, embeddings and head are fp32 too, and attention is bf16
where the machine has it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from guerdon_service.backends.attention import JointAttention
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.int8_linear import Int8Linear, quantised, zero_point
from guerdon_service.backends.int8_ranges import read_ranges
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.native_bf16 import computed_in
from guerdon_service.backends.prepacked_linear import TYPICAL_ROWS, joined
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput

INT8 = "int8"
"""Its dtype's name."""
SMOOTHING = {"hidden": 0.7, "context": 0.7, "middle": 0.6}
"""Share of a channel's range that moves to the weights: measured best of 0.4 to 0.8 for each on MiniLM."""
APART = 8
"""Inner channels that are multiplied apart; on MiniLM one or two a layer need it."""
SPLITS = 4
"""Columns that channels of the feed-forward input get beside their own; a multiple of 4: VNNI adds four."""
ONE_SIDED = 0.5
"""A channel whose middle is further from 0 than this share of half its range is centred."""
_MODEL_TYPES = ("bert", "roberta", "xlm-roberta")
_GELU_LEAST = -0.17
_TINY = 1e-5
"""Least range of a channel; those that calibration never saw move are not blown up."""


def takes_int8(config: PreTrainedConfig) -> bool:
    """True for the encoders that `load_int8` loads."""
    return config.model_type in _MODEL_TYPES and config.hidden_act == "gelu"


def load_int8(artifact: Artifact, device: str) -> PreTrainedModel:
    """The artifact's model with its layers in int8.

    Raises:
        InvalidInput: another architecture, device or machine; no ranges, or those of other weights; or
            `load_classifier` refuses the artifact.
    """
    if device != "cpu" or not torch.backends.mkldnn.is_available():
        raise InvalidInput(
            "dtype int8 of the torch back end runs on cpu with oneDNN; use bfloat16", param="dtype"
        )
    model = load_classifier(artifact, torch.float32, device)
    if not takes_int8(model.config):
        raise InvalidInput(
            f"dtype int8 of the torch back end takes {', '.join(_MODEL_TYPES)} with the exact GELU, "
            f"and {artifact.manifest.name} is {model.config.model_type}; use bfloat16 or onnxruntime",
            param="dtype",
        )
    layers: Any = model.base_model.encoder.layer  # type: ignore[union-attr]
    for i, ranges in enumerate(read_ranges(artifact, model.config)):
        layers[i] = Int8Layer(layers[i], ranges)
    return model


class Int8Layer(nn.Module):
    """What one layer of the trunk computes: fp32 [1, T, hidden] to the same.

    Args:
        layer: of BERT, RoBERTa or XLM-R, in fp32, with the exact GELU.
        ranges: lowest and highest value of each channel, as `int8_ranges.LayerRanges`.
    """

    def __init__(self, layer: Any, ranges: Mapping[str, Tensor]) -> None:
        super().__init__()
        own, out = layer.attention.self, layer.attention.output
        self._attend = JointAttention(own)
        self._norms = nn.ModuleList([out.LayerNorm, layer.output.LayerNorm])
        joint = joined([own.query, own.key, own.value])
        weight, bias = joint.weight, joint.bias
        by_input = _divisors(_reach(ranges["hidden"]), "hidden", weight)
        by_context = _divisors(_reach(ranges["context"]), "context", out.dense.weight)
        queries_and_keys = torch.ones(len(weight) - len(by_context))
        unit = torch.cat([queries_and_keys, by_context])  # values come out divided
        self._qkv = Int8Linear(weight * by_input / unit[:, None], bias / unit)
        self._out = Int8Linear(out.dense.weight * by_context, out.dense.bias)
        self._input = 1 / by_input
        self._feed_forward = _FeedForward(layer.intermediate.dense, layer.output.dense, ranges)

    def forward(self, hidden: Tensor, *_: Any, packed: PackedMasks, **__: Any) -> Tensor:
        """The next layer's input."""
        rows = hidden[0]
        qkv = self._qkv(quantised(rows, self._input), _attention_dtype())
        context = self._attend(qkv, packed)
        middle = self._norms[0](self._out.plus(quantised(context), rows))
        return self._norms[1](self._feed_forward(middle))[None]  # type: ignore[no-any-return]


class _FeedForward(nn.Module):
    """``rows + down(gelu(up(rows)))``."""

    def __init__(self, up: nn.Linear, down: nn.Linear, ranges: Mapping[str, Tensor]) -> None:
        super().__init__()
        centre = _centre(*ranges["middle"])
        reach = _reach(ranges["middle"] - centre)
        parts = _parts(reach, up.weight)
        divisors = _divisors(reach / parts, "middle", up.weight)
        largest = ranges["active"][1]
        apart = largest.topk(min(APART, up.out_features)).indices
        within = torch.ones(up.out_features).index_fill_(0, apart, 0.0)
        highest = float((largest * within).max().clamp_min(_TINY))
        self._scale = (highest - _GELU_LEAST) / (2 * zero_point() - 1)
        self._zero = round(-_GELU_LEAST / self._scale)
        self._again = torch.arange(up.in_features).repeat_interleave(parts - 1)
        columns = torch.cat((torch.arange(up.in_features), self._again))
        self._inverse = 1 / (parts * divisors)
        self._offset = -centre * self._inverse
        self._up = Int8Linear((up.weight * divisors)[:, columns], up.bias + up.weight @ centre)
        self._down = Int8Linear(down.weight * within, down.bias, self._scale, self._zero)
        self._apart = _Apart(up, down, apart)

    def forward(self, rows: Tensor) -> Tensor:
        entering = quantised(rows, self._inverse, self._offset)
        entering = torch.cat((entering, entering.index_select(1, self._again)), 1)  # all by index: ten times
        active = self._up.gelu(entering, self._scale, self._zero)
        active = active.clamp_(max=2 * zero_point() - 1) if zero_point() < 128 else active
        return self._down.plus(active, self._apart.plus(rows))


class _Apart:
    """``rows + down(gelu(up(rows)))`` in fp32, through the inner `channels` alone."""

    def __init__(self, up: nn.Linear, down: nn.Linear, channels: Tensor) -> None:
        pack = torch.ops.mkldnn._reorder_linear_weight
        self._up = (pack(up.weight[channels].contiguous(), TYPICAL_ROWS), up.bias[channels])
        self._down = pack(down.weight[:, channels].contiguous(), TYPICAL_ROWS)

    def plus(self, rows: Tensor) -> Tensor:
        linear = torch.ops.mkldnn._linear_pointwise
        active = linear(rows, *self._up, "gelu", [], "none")
        return linear.binary(active, rows, self._down, None, "add")  # type: ignore[no-any-return]


def _attention_dtype() -> torch.dtype:
    return computed_in(torch.bfloat16, "cpu")


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
