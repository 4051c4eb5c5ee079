"""A decoder's layer on CPU with fewer passes over memory than `transformers`' own.

Queries, keys and values are one product, activations are done on a product still in registers, gates and
residual sums in place. Norms are computed in fp32 and rounded once. A row's bits depend on no other row but
through attention.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers.activations import GELUTanh, SiLUActivation

from guerdon_service.backends.attention import attend
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.prepacked_linear import Activation, PrepackedLinear, joined

_LAYERS = frozenset(f"{f}DecoderLayer" for f in ("Llama", "Mistral", "Qwen2", "Qwen3", "Gemma2", "Gemma3"))
_ACTIVATIONS: dict[type, Activation] = {SiLUActivation: "silu", GELUTanh: "gelu_tanh"}


class DecoderLayer(nn.Module):
    """What a layer of Llama, Mistral, Qwen or Gemma computes, from its own weights.

    Args:
        layer: of `transformers`; `is_decoder_layer` is true of it.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.self_attn
        self._head_dim = attention.head_dim
        self._num_heads = attention.q_proj.out_features // self._head_dim
        self._num_kv_heads = attention.k_proj.out_features // self._head_dim
        self._rule = Rule(
            attention.scaling,
            causal=True,
            window=_window(attention),
            softcap=attention.attn_logit_softcapping if attention.config.model_type == "gemma2" else None,
        )
        self._qkv = PrepackedLinear(joined([attention.q_proj, attention.k_proj, attention.v_proj]))
        self._out = PrepackedLinear(attention.o_proj)
        self._gate = PrepackedLinear(layer.mlp.gate_proj, after=_ACTIVATIONS[type(layer.mlp.act_fn)])
        self._up, self._down = PrepackedLinear(layer.mlp.up_proj), PrepackedLinear(layer.mlp.down_proj)
        self._head_norms = (
            [_Norm(attention.q_norm), _Norm(attention.k_norm)] if hasattr(attention, "q_norm") else None
        )
        self._before = _Norm(layer.input_layernorm)
        second = _Norm(layer.post_attention_layernorm)
        self._after_attention, self._before_mlp, self._after_mlp = None, second, None
        if hasattr(layer, "pre_feedforward_layernorm"):
            self._after_attention, self._before_mlp = second, _Norm(layer.pre_feedforward_layernorm)
            self._after_mlp = _Norm(layer.post_feedforward_layernorm)

    def forward(
        self,
        hidden_states: Tensor,
        *,
        position_embeddings: tuple[Tensor, Tensor],
        packed: PackedMasks,
        **_: Any,
    ) -> Tensor:
        """Hidden states [1, T, hidden] after the layer.

        Args:
            position_embeddings: cosines and sines [1, T, head_dim].
        """
        rows = hidden_states[0]
        # both halves of a head turn by the same angles
        cos, sin = (angles[0, :, None, : self._head_dim // 2] for angles in position_embeddings)
        query, key, value = self._projected(rows, cos, sin)
        seen = attend(query, *packed.keys_and_values(self, key, value), packed, self._rule)
        return self._after(rows, seen.flatten(1))[None]

    def _projected(self, rows: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [kv_heads, T, groups, head_dim], keys and values [kv_heads, T, head_dim]."""
        sizes = [self._num_heads, self._num_kv_heads, self._num_kv_heads]
        projected = self._qkv(self._before(rows)).unflatten(1, (-1, self._head_dim))
        num_turned = self._num_heads + self._num_kv_heads
        turned = projected[:, :num_turned]
        if self._head_norms is not None:
            parts = zip(self._head_norms, turned.split(sizes[:2], dim=1), strict=True)
            turned = torch.cat([norm(part) for norm, part in parts], dim=1)
        heads = rows.new_empty(num_turned, len(rows), self._head_dim)
        _rotate(turned, cos, sin, heads.transpose(0, 1))
        queries, keys = heads.split(sizes[:2])
        values = projected[:, num_turned:].transpose(0, 1)
        return queries.unflatten(0, (self._num_kv_heads, -1)).transpose(1, 2), keys, values

    def _after(self, rows: Tensor, seen: Tensor) -> Tensor:
        """What follows attention, of rows [T, hidden] and what they saw [T, heads * head_dim]."""
        rows = _added(rows, seen, self._out, self._after_attention)
        normed = self._before_mlp(rows)
        gated = self._gate(normed).mul_(self._up(normed))
        return _added(rows, gated, self._down, self._after_mlp)


class _Norm:
    """Root-mean-square norm (arXiv:1910.07467) over the last axis, in fp32, rounded once."""

    def __init__(self, norm: Any) -> None:
        is_gemma = not hasattr(norm, "variance_epsilon")
        weight = norm.weight.data.float()
        self._weight = weight + 1 if is_gemma else weight
        self._eps = torch.tensor(norm.eps if is_gemma else norm.variance_epsilon)

    def __call__(self, rows: Tensor) -> Tensor:
        exact = rows.float()
        length = torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
        scale = torch.addcmul(self._eps, length, length, value=1 / rows.shape[-1]).rsqrt_()
        return (exact * scale).mul_(self._weight).to(rows.dtype)


def is_decoder_layer(module: nn.Module, dtypes: Sequence[torch.dtype]) -> bool:
    """True of a layer that `DecoderLayer` computes, with weights in one of these dtypes."""
    layer: Any = module
    return (
        type(layer).__name__ in _LAYERS
        and type(layer.mlp.act_fn) in _ACTIVATIONS
        and layer.mlp.gate_proj.weight.dtype in dtypes
    )


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Rotary embedding (arXiv:2104.09864) of [T, heads, head_dim] by angles [T, 1, head_dim / 2]."""
    (x, y), (out_x, out_y) = heads.chunk(2, dim=-1), out.chunk(2, dim=-1)
    torch.mul(x, cos, out=out_x).addcmul_(y, sin, value=-1)
    torch.mul(y, cos, out=out_y).addcmul_(x, sin)


def _added(rows: Tensor, inputs: Tensor, product: PrepackedLinear, norm: _Norm | None) -> Tensor:
    """The residual sum of `rows` and the product's outputs, normed if there is a norm."""
    outputs = product(inputs)
    return (outputs if norm is None else norm(outputs)).add_(rows)


def _window(attention: Any) -> int | None:
    """The first distance out of sight. Mistral's layers read it from the configuration, Llama's have none."""
    if attention.config.model_type == "mistral":
        return attention.config.sliding_window  # type: ignore[no-any-return]
    return getattr(attention, "sliding_window", None)
