"""A decoder's layer on CPU with fewer passes over memory than `transformers`' own.

Queries, keys and values are one product, activations are done on a product still in registers, gates and
residual sums in place. Norms are computed in fp32 and rounded once. A row's bits depend on no other row but
through attention.
"""

from typing import Any

import torch
from torch import Tensor, nn

from guerdon_service.backends.attention import attend
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.decoder_parts import Norm, decoder_parts
from guerdon_service.backends.native.linear import TiledLinear
from guerdon_service.backends.prepacked_linear import PrepackedLinear, gate_of, linear_of

_BLOCK = 128
"""Rows that norms and rotations take at a time: what they write stays in a core's cache until it is read."""


class DecoderLayer(nn.Module):
    """What a layer of Llama, Mistral, Qwen or Gemma computes, from its own weights.

    Args:
        layer: of `transformers`; `decoder_parts.is_decoder_layer` is true of it.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        parts = decoder_parts(layer)
        self._head_dim = parts.head_dim
        self._num_heads, self._num_kv_heads = parts.num_heads, parts.num_kv_heads
        self._rule = parts.rule
        self._qkv, self._out, self._down = (linear_of(each) for each in (parts.qkv, parts.out, parts.down))
        self._gated = gate_of(parts.gate, parts.up, parts.activation)
        self._head_norms = [_Norm(norm) for norm in parts.head_norms] if parts.head_norms else None
        self._before, self._before_mlp = _Norm(parts.before), _Norm(parts.before_mlp)
        self._after_attention, self._after_mlp = (
            _Norm(norm) if norm else None for norm in (parts.after_attention, parts.after_mlp)
        )

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
        rows = _added(rows, seen.flatten(1), self._out, self._after_attention)
        return _added(rows, self._gated(self._before_mlp(rows)), self._down, self._after_mlp)[None]

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


class _Norm:
    """A `Norm` over the last axis, in fp32, rounded once."""

    def __init__(self, norm: Norm) -> None:
        self._weight = norm.weight
        self._eps = torch.tensor(norm.eps)

    def __call__(self, rows: Tensor) -> Tensor:
        normed = torch.empty_like(rows, memory_format=torch.contiguous_format)
        for some, out in zip(rows.split(_BLOCK), normed.split(_BLOCK), strict=True):
            exact = some.float()
            length = torch.linalg.vector_norm(exact, dim=-1, keepdim=True)
            scale = torch.addcmul(self._eps, length, length, value=1 / rows.shape[-1]).rsqrt_()
            out.copy_((exact * scale).mul_(self._weight))
        return normed


def _rotate(heads: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> None:
    """Rotary embedding (arXiv:2104.09864) of [T, heads, head_dim] by angles [T, 1, head_dim / 2]."""
    for some, its_cos, its_sin, its_out in zip(
        *(tensor.split(_BLOCK) for tensor in (heads, cos, sin, out)), strict=True
    ):
        (x, y), (out_x, out_y) = some.chunk(2, dim=-1), its_out.chunk(2, dim=-1)
        torch.mul(x, its_cos, out=out_x).addcmul_(y, its_sin, value=-1)
        torch.mul(y, its_cos, out=out_y).addcmul_(x, its_sin)


def _added(
    rows: Tensor, inputs: Tensor, product: PrepackedLinear | TiledLinear, norm: _Norm | None
) -> Tensor:
    """The residual sum of `rows` and the product's outputs, normed if there is a norm."""
    return product.plus(inputs, rows) if norm is None else norm(product(inputs)).add_(rows)
