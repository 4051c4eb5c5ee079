"""A decoder's layer on CUDA: four products, attention, and one kernel for what lies between any two.

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
        self._head_dim, self._rule, self._activation = parts.head_dim, parts.rule, parts.activation
        self._num_heads, self._num_kv_heads = parts.num_heads, parts.num_kv_heads
        self._qkv, self._out = parts.qkv, parts.out
        self._gate_up, self._down = joined([parts.gate, parts.up]), parts.down
        self._before, self._head_norms = parts.before, _of_heads(parts)
        self._after_attention, self._before_mlp = parts.after_attention, parts.before_mlp
        self._after_mlp = parts.after_mlp

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
        assert packed.kernel is not None, "CudaLayer is for forwards with a kernel"
        rows, num_turned = hidden_states[0], self._num_heads + self._num_kv_heads
        heads = self._qkv(normed(rows, self._before)).unflatten(1, (-1, self._head_dim))
        turn(heads[:, :num_turned], self._head_norms, *(angles[0] for angles in position_embeddings))
        query, key, value = heads.split([self._num_heads, self._num_kv_heads, self._num_kv_heads], dim=1)
        tiles = packed.tiles(query, self._num_heads // self._num_kv_heads, causal=True)
        seen = packed.kernel(query, key, value, tiles, self._rule).flatten(1)
        _add(rows, seen, self._out, self._after_attention)
        both = self._gate_up(normed(rows, self._before_mlp))
        _add(rows, gated(both, self._activation), self._down, self._after_mlp)
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
