"""What a decoder's layer of `transformers` is made of, read once: the layers of our own compute with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUTanh, SiLUActivation

from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.native.steps import GateActivation
from guerdon_service.backends.prepacked_linear import joined

_LAYERS = frozenset(f"{f}DecoderLayer" for f in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3"))
_ACTIVATIONS: dict[type, GateActivation] = {SiLUActivation: "silu", GELUTanh: "gelu_tanh"}


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """Root-mean-square norm (arXiv:1910.07467): fp32 weight of the last axis, and the epsilon."""

    weight: Tensor
    eps: float


@dataclass(frozen=True, slots=True, eq=False)
class DecoderParts:
    """Sizes, weights and norms of a layer of Llama, Mistral, Qwen or Gemma.

    qkv: one product for queries, keys and values, in this order.
    head_norms: of queries and of keys, or None.
    after_attention, after_mlp: of what is added to the residual, or None.
    """

    head_dim: int
    num_heads: int
    num_kv_heads: int
    rule: Rule
    qkv: nn.Linear
    out: nn.Linear
    gate: nn.Linear
    up: nn.Linear
    down: nn.Linear
    activation: GateActivation
    head_norms: tuple[Norm, Norm] | None
    before: Norm
    after_attention: Norm | None
    before_mlp: Norm
    after_mlp: Norm | None


def is_decoder_layer(module: nn.Module, dtypes: Sequence[torch.dtype]) -> bool:
    """True of a layer that `decoder_parts` reads, with weights in one of these dtypes."""
    layer: Any = module
    return (
        type(layer).__name__ in _LAYERS
        and type(layer.mlp.act_fn) in _ACTIVATIONS
        and layer.mlp.gate_proj.weight.dtype in dtypes
    )


def decoder_parts(layer: Any) -> DecoderParts:
    """The parts of a layer of which `is_decoder_layer` is true; they share its weights, but for `qkv`."""
    attention, mlp = layer.self_attn, layer.mlp
    after_attention, before_mlp, after_mlp = None, norm_of(layer.post_attention_layernorm), None
    if hasattr(layer, "pre_feedforward_layernorm"):
        after_attention, before_mlp = before_mlp, norm_of(layer.pre_feedforward_layernorm)
        after_mlp = norm_of(layer.post_feedforward_layernorm)
    softcap = attention.attn_logit_softcapping if attention.config.model_type == "gemma2" else None
    has_head_norms = hasattr(attention, "q_norm")
    return DecoderParts(
        head_dim=attention.head_dim,
        num_heads=attention.q_proj.out_features // attention.head_dim,
        num_kv_heads=attention.k_proj.out_features // attention.head_dim,
        rule=Rule(attention.scaling, causal=True, window=_window(attention), softcap=softcap),
        qkv=joined([attention.q_proj, attention.k_proj, attention.v_proj]),
        out=attention.o_proj,
        gate=mlp.gate_proj,
        up=mlp.up_proj,
        down=mlp.down_proj,
        activation=_ACTIVATIONS[type(mlp.act_fn)],
        head_norms=(norm_of(attention.q_norm), norm_of(attention.k_norm)) if has_head_norms else None,
        before=norm_of(layer.input_layernorm),
        after_attention=after_attention,
        before_mlp=before_mlp,
        after_mlp=after_mlp,
    )


def norm_of(norm: Any) -> Norm:
    """A norm of `transformers`' layers, or of what follows the last."""
    is_gemma = not hasattr(norm, "variance_epsilon")
    weight = norm.weight.data.float()
    return Norm(weight + 1, norm.eps) if is_gemma else Norm(weight, norm.variance_epsilon)


def _window(attention: Any) -> int | None:
    """The first distance out of sight. Mistral's layers read it from the configuration, Llama's have none."""
    if attention.config.model_type == "mistral":
        return attention.config.sliding_window  # type: ignore[no-any-return]
    return getattr(attention, "sliding_window", None)
