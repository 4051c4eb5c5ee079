"""BERT-shaped encoders whose products run in int8 on CPU, in ranges that ``guerdon export`` measured.

A layer quantises its input once and multiplies it by query, key and value in one product; uint8 goes from the
first product of the feed-forward part to the second. All scales are constants, and what tames the rows is in
`int8_folding`. The residual stream, norms, embeddings and head are fp32, and attention is bf16 where the
machine has it; by tiles (`native.int8_layer`) tables of embeddings, and what one step leaves to the next, are
bf16.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from guerdon_service.backends.attention import JointAttention
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.int8_folding import FoldedFeedForward, folded_attention, folded_feed_forward
from guerdon_service.backends.int8_linear import Int8Linear, quantised, zero_point
from guerdon_service.backends.int8_ranges import read_ranges
from guerdon_service.backends.load import load_classifier
from guerdon_service.backends.native.embeddings import TiledEmbeddings
from guerdon_service.backends.native.int8_layer import is_tiled_int8, tiled_int8_layer
from guerdon_service.backends.native_bf16 import computed_in
from guerdon_service.backends.prepacked_linear import TYPICAL_ROWS
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput

INT8 = "int8"
"""Its dtype's name."""
_MODEL_TYPES = ("bert", "roberta", "xlm-roberta")


def takes_int8(config: PreTrainedConfig) -> bool:
    """True for the encoders that `load_int8` loads."""
    return config.model_type in _MODEL_TYPES and config.hidden_act == "gelu"


def load_int8(artifact: Artifact, device: str) -> PreTrainedModel:
    """The artifact's model with its layers in int8.

    Raises:
        InvalidInput: another architecture, device or machine; no ranges, or those of other weights; a weight
            that is not finite; or `load_classifier` refuses the artifact.
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
    _check_finite(model)
    layers: Any = model.base_model.encoder.layer  # type: ignore[union-attr]
    is_tiled = is_tiled_int8(model.config)
    for i, ranges in enumerate(read_ranges(artifact, model.config)):
        layers[i] = tiled_int8_layer(layers[i], ranges) if is_tiled else Int8Layer(layers[i], ranges)
    if is_tiled:
        trunk: Any = model.base_model
        trunk.embeddings = TiledEmbeddings(trunk.embeddings)
    return model


def _check_finite(model: PreTrainedModel) -> None:
    """Integers hold no NaN: after attention one would be a number like any other, and so would the score."""
    for name, weight in model.named_parameters():
        if not weight.isfinite().all():
            raise InvalidInput(f"the weights' {name} is not finite; save the model again", param="source")


class Int8Layer(nn.Module):
    """What one layer of the trunk computes: fp32 [1, T, hidden] to the same.

    Args:
        layer: of BERT, RoBERTa or XLM-R, in fp32, with the exact GELU.
        ranges: lowest and highest value of each channel, as `int8_ranges.LayerRanges`.
    """

    def __init__(self, layer: Any, ranges: Mapping[str, Tensor]) -> None:
        super().__init__()
        self._attend = JointAttention(layer.attention.self)
        self._norms = nn.ModuleList([layer.attention.output.LayerNorm, layer.output.LayerNorm])
        folded = folded_attention(layer, ranges)
        self._factor = folded.factor
        self._qkv = Int8Linear(folded.qkv.weight, folded.qkv.bias)
        self._out = Int8Linear(folded.out.weight, folded.out.bias)
        self._feed_forward = _FeedForward(folded_feed_forward(layer, ranges))

    def forward(self, hidden: Tensor, *_: Any, packed: PackedMasks, **__: Any) -> Tensor:
        """The next layer's input."""
        rows = hidden[0]
        qkv = self._qkv(quantised(rows, self._factor), _attention_dtype())
        context = self._attend(qkv, packed)
        middle = self._norms[0](self._out.plus(quantised(context), rows))
        return self._norms[1](self._feed_forward(middle))[None]  # type: ignore[no-any-return]


class _FeedForward:
    """``rows + down(gelu(up(rows)))``."""

    def __init__(self, folded: FoldedFeedForward) -> None:
        self._entering = (folded.factor, folded.offset)
        self._again, self._active = folded.again, (folded.scale, folded.zero)
        self._up = Int8Linear(folded.up.weight, folded.up.bias)
        self._down = Int8Linear(folded.down.weight, folded.down.bias, *self._active)
        pack = torch.ops.mkldnn._reorder_linear_weight
        self._apart = (pack(folded.apart.weight, TYPICAL_ROWS), folded.apart.bias)
        self._apart_down = pack(folded.apart_down, TYPICAL_ROWS)

    def __call__(self, rows: Tensor) -> Tensor:
        entering = quantised(rows, *self._entering)
        entering = torch.cat((entering, entering.index_select(1, self._again)), 1)  # all by index: ten times
        active = self._up.gelu(entering, *self._active)
        active = active.clamp_(max=2 * zero_point() - 1) if zero_point() < 128 else active
        return self._down.plus(active, self._plus_apart(rows))

    def _plus_apart(self, rows: Tensor) -> Tensor:
        """``rows + down(gelu(up(rows)))`` in fp32, through the channels apart alone."""
        linear = torch.ops.mkldnn._linear_pointwise
        active = linear(rows, *self._apart, "gelu", [], "none")
        return linear.binary(active, rows, self._apart_down, None, "add")  # type: ignore[no-any-return]


def _attention_dtype() -> torch.dtype:
    return computed_in(torch.bfloat16, "cpu")
