"""A decoder's layer on CUDA: five products, attention, and one kernel for what lies between any two.

`transformers`' own starts some 35 small kernels a layer, which cost a small model more than its products do.
"""

import logging
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from guerdon_service.backends.attention_masks import PackedMasks
from guerdon_service.backends.attention_varlen import attend_rows
from guerdon_service.backends.decoder_parts import DecoderParts, Norm, decoder_parts, is_decoder_layer
from guerdon_service.backends.prepacked_linear import joined
from guerdon_service.backends.triton_kernels import gated, normed, turn

log = logging.getLogger(__name__)


def fuse(trunk: nn.Module, dtype: torch.dtype) -> None:
    """Put a `CudaLayer` in the place of each decoder's layer in this dtype; the old weights are freed.

    Layers that cap their logits stay as they are: the kernel of all sequences knows no caps. Where kernels
    cannot be compiled all do, and the log says so.
    """
    try:
        like = next(trunk.parameters())
        normed(like.new_ones(1, 8), Norm(torch.ones(8, device=like.device), 1.0))
    except RuntimeError as err:
        log.warning("layers are not fused, and slower: %s; Triton needs a C compiler, such as gcc", err)
        return
    for module in list(trunk.modules()):
        for name, child in list(module.named_children()):
            if is_decoder_layer(child, (dtype,)):
                parts = decoder_parts(child)
                if parts.rule.softcap is None:
                    setattr(module, name, CudaLayer(parts))


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
        varlen = packed.varlen(len(rows), rows.device, causal=True)
        seen = attend_rows(query, key, value, varlen, parts.rule, packed.kernel).flatten(1)
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
