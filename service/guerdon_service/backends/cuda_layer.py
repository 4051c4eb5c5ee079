"""A decoder's layer on CUDA: five products, attention, and one kernel for what lies between any two.

`transformers`' own starts some 35 small kernels a layer, which cost a small model more than its products do.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.decoder_parts import (
    DecoderParts,
    Norm,
    decoder_parts,
    is_decoder_layer,
    norm_of,
)
from guerdon_service.backends.prepacked_linear import joined
from guerdon_service.backends.triton_kernels import gated, normed, turn


def fuse(trunk: Any, dtype: torch.dtype) -> None:
    """Put a `CudaLayer` in the place of each decoder's layer in this dtype, then a norm of one kernel.

    The old weights are freed.
    """
    layers = getattr(trunk, "layers", [])
    if not layers or not is_decoder_layer(layers[0], (dtype,)):
        return
    for i, layer in enumerate(layers):
        layers[i] = CudaLayer(decoder_parts(layer))
    trunk.norm = CudaNorm(norm_of(trunk.norm))


class CudaNorm(nn.Module):
    """What the norm computes, rounded once."""

    def __init__(self, norm: Norm) -> None:
        super().__init__()
        self._norm = norm

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[1, T, hidden] of hidden states of that shape."""
        return normed(hidden_states[0], self._norm)[None]


class CudaLayer(nn.Module):
    """What the layer computes, norms and rotation in fp32, sums in place."""

    def __init__(self, parts: DecoderParts) -> None:
        super().__init__()
        self._parts = parts
        self._qkv, self._gate_up = parts.qkv, joined([parts.gate, parts.up])
        self._num_turned = parts.num_heads + parts.num_kv_heads
        self._head_norms = _of_heads(parts)

    def forward(
        self,
        hidden_states: Tensor,
        *,
        position_embeddings: tuple[Tensor, Tensor],
        packed: PackedMasks,
        **_: Any,
    ) -> Tensor:
        """Hidden states [1, T, hidden] after the layer, written over those before it.

        Args:
            position_embeddings: cosines and sines [1, T, head_dim].
        """
        parts, rows = self._parts, hidden_states[0]
        heads = self._qkv(normed(rows, parts.before)).unflatten(1, (-1, parts.head_dim))
        turn(heads[:, : self._num_turned], self._head_norms, *(angles[0] for angles in position_embeddings))
        query, key, value = heads.split([parts.num_heads, parts.num_kv_heads, parts.num_kv_heads], dim=1)
        assert packed.kernel is not None, "CudaLayer is for forwards with a kernel"
        tiles = packed.tiles(query, parts.num_heads // parts.num_kv_heads, causal=True)
        seen = packed.kernel(query, key, value, tiles, parts.rule).flatten(1)
        _add(rows, seen, parts.out, parts.after_attention)
        both = self._gate_up(normed(rows, parts.before_mlp))
        _add(rows, gated(both, parts.activation), parts.down, parts.after_mlp)
        return hidden_states


def _of_heads(parts: DecoderParts) -> Norm | None:
    """The norms of queries' and keys' heads as one, weight [heads, head_dim]."""
    if parts.head_norms is None:
        return None
    counts = parts.num_heads, parts.num_kv_heads
    weights = [norm.weight.expand(count, -1) for norm, count in zip(parts.head_norms, counts, strict=True)]
    return Norm(torch.cat(weights), parts.head_norms[0].eps)


def _add(rows: Tensor, inputs: Tensor, product: nn.Linear, norm: Norm | None) -> None:
    """Add the product's outputs to `rows`, normed if there is a norm."""
    if norm is None and product.bias is None:
        rows.addmm_(inputs, product.weight.t())
    else:
        outputs = linear(inputs, product.weight, product.bias)
        rows.add_(outputs if norm is None else normed(outputs, norm))
