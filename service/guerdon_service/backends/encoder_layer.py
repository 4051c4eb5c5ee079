"""A BERT-shaped encoder's layer on CPU with fewer passes over memory than `transformers`' own.

Queries, keys and values are one product; activation and residual sums are done on products still in
registers. A row's bits depend on no other row but through attention.
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUActivation
from transformers.models.bert.modeling_bert import BertLayer
from transformers.models.roberta.modeling_roberta import RobertaLayer
from transformers.models.xlm_roberta.modeling_xlm_roberta import XLMRobertaLayer

from guerdon_service.backends.attention import JointAttention
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.prepacked_linear import joined, linear_of


def is_encoder_layer(module: Any, dtypes: tuple[torch.dtype, ...]) -> bool:
    """True for layers that an `EncoderLayer` computes: with the exact GELU, in one of `dtypes`."""
    if not isinstance(module, BertLayer | RobertaLayer | XLMRobertaLayer):
        return False
    return (
        is_exact_gelu(module.intermediate.intermediate_act_fn) and module.output.dense.weight.dtype in dtypes
    )


def is_exact_gelu(act: object) -> bool:
    """True for the activation of `transformers` that `linear_of` does after a product."""
    return isinstance(act, GELUActivation) and act.act is nn.functional.gelu


class EncoderLayer(nn.Module):
    """What a layer of BERT, RoBERTa or XLM-R computes, from its own weights.

    Args:
        layer: of `transformers`; `is_encoder_layer` is true of it.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        own, out = layer.attention.self, layer.attention.output
        self._attend = JointAttention(own)
        self._qkv = linear_of(joined([own.query, own.key, own.value]))
        self._out = linear_of(out.dense)
        self._up = linear_of(layer.intermediate.dense, after="gelu")
        self._down = linear_of(layer.output.dense)
        self._norms = nn.ModuleList([out.LayerNorm, layer.output.LayerNorm])

    def forward(self, hidden: Tensor, *_: Any, packed: PackedMasks, **__: Any) -> Tensor:
        """Hidden states [1, T, hidden] after the layer."""
        rows = hidden[0]
        seen = self._attend(self._qkv(rows), packed)
        middle = self._norms[0](self._out.plus(seen, rows))
        return self._norms[1](self._down.plus(self._up(middle), middle))[None]  # type: ignore[no-any-return]
