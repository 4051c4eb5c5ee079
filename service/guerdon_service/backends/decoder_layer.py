"""A decoder's layer on CPU with fewer passes over memory than `transformers`' own.

Queries, keys and values are one product, activations are done on a product still in registers, gates and
residual sums in place. Norms are computed in fp32 and rounded once. A row's bits depend on no other row but
through attention.
"""

from typing import Any

import torch
from torch import Tensor, nn

from guerdon_service.backends import native_bf16
from guerdon_service.backends.attention import attend
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.decoder_parts import Norm, decoder_parts
from guerdon_service.backends.prepacked_linear import PrepackedLinear

_BLOCK = 128
"""Rows that norms and rotations take at a time: what they write stays in a core's cache until it is read."""
_PIECE = 512
"""Rows that go through what follows attention together on AMX, where products of so many are cut alike."""


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
        self._qkv = PrepackedLinear(parts.qkv)
        self._gate = PrepackedLinear(parts.gate, after=parts.activation, most_rows=_PIECE)
        self._out, self._up, self._down = (
            PrepackedLinear(linear, most_rows=_PIECE) for linear in (parts.out, parts.up, parts.down)
        )
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
        piece = _PIECE if native_bf16.has_amx() else max(len(rows), 1)
        pieces = zip(rows.split(piece), seen.flatten(1).split(piece), strict=True)
        after = [self._after(*piece) for piece in pieces]
        return (torch.cat(after) if len(after) > 1 else after[0])[None]

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
        gated = self._up.times(normed, self._gate(normed))
        return _added(rows, gated, self._down, self._after_mlp)


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


def _added(rows: Tensor, inputs: Tensor, product: PrepackedLinear, norm: _Norm | None) -> Tensor:
    """The residual sum of `rows` and the product's outputs, normed if there is a norm."""
    return product.plus(inputs, rows) if norm is None else norm(product(inputs)).add_(rows)
