"""A decoder's layer in bf16 on AMX: its attention, and a call for all before it and one for all after."""

from typing import Any

import torch
from torch import Tensor, nn

from guerdon_service.backends.attention import attend
from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.decoder_parts import DecoderParts, decoder_parts
from guerdon_service.backends.decoder_parts import Norm as PlainNorm
from guerdon_service.backends.native.library import takes_tiles
from guerdon_service.backends.native.rows import RowSteps
from guerdon_service.backends.native.steps import Multiply, Norm, Rotate, Step
from guerdon_service.backends.native.weight import BLOCK, TiledWeight


def is_tiled_decoder(layer: Any) -> bool:
    """Whether `TiledDecoderLayer` takes a layer of which `is_decoder_layer` is true."""
    attention = layer.self_attn
    sizes = (*layer.mlp.up_proj.weight.shape, *attention.q_proj.weight.shape, attention.head_dim)
    return takes_tiles(layer.mlp.up_proj.weight) and not any(size % BLOCK for size in sizes)


class TiledDecoderLayer(nn.Module):
    """What a layer of Llama, Mistral, Qwen or Gemma computes, from its own weights.

    Args:
        layer: of `transformers`; `is_tiled_decoder` is true of it.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        parts = decoder_parts(layer)
        self._head_dim = parts.head_dim
        self._num_heads, self._num_kv_heads = parts.num_heads, parts.num_kv_heads
        self._rule = parts.rule
        self._before, self._after = _steps_before(parts), _steps_after(parts)

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
        cos, sin = (angles[0].contiguous() for angles in position_embeddings)
        heads = self._num_heads + 2 * self._num_kv_heads
        qkv = rows.new_empty(len(rows), heads * self._head_dim)
        self._before(rows=rows, cos=cos, sin=sin, qkv=qkv)
        query, key, value = self._split(qkv)
        seen = attend(query, *packed.keys_and_values(self, key, value), packed, self._rule).flatten(1)
        out = torch.empty_like(rows)
        self._after(seen=seen, rows=rows, out=out)
        return out[None]

    def _split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [kv_heads, T, groups, head_dim], keys and values [kv_heads, T, head_dim], not copied."""
        sizes = (self._num_heads, self._num_kv_heads, self._num_kv_heads)
        query, key, value = qkv.unflatten(1, (-1, self._head_dim)).split(sizes, dim=1)
        return (
            query.unflatten(1, (self._num_kv_heads, -1)).transpose(0, 1),
            key.transpose(0, 1),
            value.transpose(0, 1),
        )


def _steps_before(parts: DecoderParts) -> RowSteps:
    """From ``rows`` to ``qkv``: queries, keys and values, the first two turned."""
    dim, num_heads, num_kv_heads = parts.head_dim, parts.num_heads, parts.num_kv_heads
    weight = TiledWeight.of(parts.qkv)
    steps: list[Step] = [_norm(parts.before, "rows", "normed"), Multiply(weight, "normed", "qkv")]
    if parts.head_norms:
        query, key = parts.head_norms
        steps.append(_norm(query, "qkv", "qkv", count=num_heads))
        steps.append(_norm(key, "qkv", "qkv", begin=num_heads * dim, count=num_kv_heads))
    steps.append(Rotate("qkv", num_heads + num_kv_heads, dim))
    return RowSteps(steps, {"rows": weight.inputs, "normed": weight.inputs, "cos": dim, "sin": dim})


def _steps_after(parts: DecoderParts) -> RowSteps:
    """From ``seen`` and the residual ``rows`` to ``out``."""
    out, down = TiledWeight.of(parts.out), TiledWeight.of(parts.down)
    gated = TiledWeight.gated(parts.gate, parts.up)
    steps = (
        *_added(out, "seen", "middle", "rows", parts.after_attention),
        _norm(parts.before_mlp, "middle", "normed"),
        Multiply(gated, "normed", "active", parts.activation),
        *_added(down, "active", "out", "middle", parts.after_mlp),
    )
    return RowSteps(steps, {"seen": out.inputs, "rows": out.outputs, "normed": out.outputs})


def _added(weight: TiledWeight, source: str, to: str, residual: str, norm: PlainNorm | None) -> list[Step]:
    """The residual sum of products, normed if there is a norm."""
    if norm is None:
        return [Multiply(weight, source, to, "plus", residual)]
    return [Multiply(weight, source, to), _norm(norm, to, to, other=residual)]


def _norm(norm: PlainNorm, source: str, to: str, **where: Any) -> Norm:
    return Norm(norm.weight.contiguous(), None, norm.eps, source, to, **where)
