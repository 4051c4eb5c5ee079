"""Attention of a packed row: inside each segment, nothing across."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from guerdon_service.backends.layout import Segment

PACKED = "guerdon_packed"
"""Name under which `transformers` finds the attention function. No mask function is registered under it,
and so `transformers` builds no mask."""

_MATMUL_KEYS = range(48, 2048)
"""Numbers of keys for which two bf16 matrix products on CPU beat the fused kernel (1.3-1.5 times)."""


class PackedMasks:
    """Segments of one forward and their masks, which the layers share.

    Args:
        segments: they tile the packed row from 0; rows after the last one are padding.
    """

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        self.segments = segments
        self._masks: dict[tuple[int, int, bool, int | None], Tensor | None] = {}

    def mask(self, like: Tensor, prompt: int, own: int, causal: bool, window: int | None) -> Tensor | None:
        """Additive mask [own, prompt + own] in the dtype of `like`, or None where every key is seen.

        Queries stand at positions ``prompt`` to ``prompt + own - 1``. `window` is the first distance that
        is out of sight, as `transformers` passes it (`sliding_window`; ModernBERT's is half + 1).
        """
        key = (prompt, own, causal, window)
        if key not in self._masks:
            self._masks[key] = _mask(like, *key)
        return self._masks[key]


def _mask(like: Tensor, prompt: int, own: int, causal: bool, window: int | None) -> Tensor | None:
    query = torch.arange(prompt, prompt + own, device=like.device)[:, None]
    distance = query - torch.arange(prompt + own, device=like.device)
    hidden = distance < 0 if causal else torch.zeros_like(distance, dtype=torch.bool)
    if window is not None:
        hidden = hidden | (distance.abs() >= window)
    if not hidden.any():
        return None
    return torch.zeros(hidden.shape, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))


def register_packed_attention() -> None:
    """Make `PACKED` known to `transformers`; calling it again changes nothing."""
    AttentionInterface.register(PACKED, packed_attention)


def packed_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    packed: PackedMasks,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention function of the packed forward.

    Args:
        query: [1, heads, T, head_dim]; `key` and `value` may have fewer heads (grouped queries).
        packed: handed down by the model's forward as a keyword argument.

    Returns:
        [1, T, heads, head_dim], zero in padding rows.
    """
    assert attention_mask is None, "the packed forward makes its own masks"
    scale = scaling or query.shape[3] ** -0.5
    # kv heads as the batch, [kv_heads, groups, T, head_dim], so that grouped queries need no copies of keys
    query = query[0].unflatten(0, (key.shape[1], -1))
    out = query.new_zeros(query.shape[2], *query.shape[:2], query.shape[3])
    for segment in packed.segments:
        rows = slice(segment.start, segment.end)
        own, keys, values = query[:, :, rows], _seen(key[0], segment), _seen(value[0], segment)
        shape = (keys.shape[1] - own.shape[2], own.shape[2], module.is_causal, sliding_window)
        if softcap is not None or _prefers_matmul(query, keys.shape[1]):
            answer = _by_matmul(own, keys, values, packed.mask(query, *shape), scale, softcap)
        else:
            answer = _fused(own, keys, values, packed, shape, scale)
        out[rows] = answer.permute(2, 0, 1, 3)
    return out.flatten(1, 2)[None], None


def _seen(tensor: Tensor, segment: Segment) -> Tensor:
    """Keys or values [kv_heads, seen, head_dim] of the segment's queries: the prompt's, then its own."""
    if segment.prompt is None:
        return tensor[:, segment.start : segment.end]
    start, end = segment.prompt
    if end == segment.start:
        return tensor[:, start : segment.end]
    return torch.cat([tensor[:, start:end], tensor[:, segment.start : segment.end]], dim=1)


def _prefers_matmul(query: Tensor, seen: int) -> bool:
    return query.dtype == torch.bfloat16 and query.device.type == "cpu" and seen in _MATMUL_KEYS


def _fused(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packed: PackedMasks,
    shape: tuple[int, int, bool, int | None],
    scale: float,
) -> Tensor:
    prompt, own, causal, window = shape
    plain = causal and prompt == 0 and (window is None or own <= window)
    return scaled_dot_product_attention(
        query,
        key[:, None].expand(-1, query.shape[1], -1, -1),
        value[:, None].expand(-1, query.shape[1], -1, -1),
        attn_mask=None if plain else packed.mask(query, *shape),
        is_causal=plain,
        scale=scale,
    )


def _by_matmul(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float, softcap: float | None
) -> Tensor:
    """Plain attention; `softcap` squashes logits to ``softcap * tanh(x / softcap)`` (arXiv:2408.00118).

    Operands are made contiguous, so that equal segments reach the kernels in equal form.
    """
    kv_heads, groups, own, head_dim = query.shape
    rows = query.reshape(kv_heads, groups * own, head_dim).contiguous()
    logits = torch.baddbmm(
        rows.new_zeros(1, 1, 1), rows, key.contiguous().transpose(1, 2), beta=0, alpha=scale
    )
    if softcap is not None:
        logits = torch.tanh(logits / softcap) * softcap
    if mask is not None:
        logits.view(kv_heads, groups, own, -1).add_(mask)
    weights = torch.softmax(logits, dim=-1)
    return torch.bmm(weights, value.contiguous()).view(kv_heads, groups, own, head_dim)
