"""Attention of a packed row: scaled dot products inside each segment, nothing across."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from guerdon_service.backends.layout import Segment

PACKED = "guerdon_packed"
"""Name under which `transformers` finds the attention function. No mask function is registered under it,
and so `transformers` builds no mask."""


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
    groups = query.shape[1] // key.shape[1]
    # [kv_heads, groups, T, head_dim]: kv heads as the batch, so that grouped keys need no copy
    query = query[0].unflatten(0, (-1, groups))
    key, value = key[0][:, None], value[0][:, None]
    out = query.new_zeros(query.shape[2], *query.shape[:2], query.shape[3])
    for segment in packed.segments:
        own = slice(segment.start, segment.end)
        keys = _seen(key, segment).expand(-1, groups, -1, -1)
        values = _seen(value, segment).expand(-1, groups, -1, -1)
        answer = _attend(
            query[:, :, own], keys, values, packed, module.is_causal, sliding_window, scaling, softcap
        )
        out[own] = answer.permute(2, 0, 1, 3)
    return out.flatten(1, 2)[None], None


def _seen(tensor: Tensor, segment: Segment) -> Tensor:
    """Keys or values that the segment's queries see: the prompt's, then its own."""
    if segment.prompt is None:
        return tensor[:, :, segment.start : segment.end]
    start, end = segment.prompt
    if end == segment.start:
        return tensor[:, :, start : segment.end]
    return torch.cat([tensor[:, :, start:end], tensor[:, :, segment.start : segment.end]], dim=2)


def _attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    packed: PackedMasks,
    causal: bool,
    window: int | None,
    scaling: float | None,
    softcap: float | None,
) -> Tensor:
    own, seen = query.shape[2], key.shape[2]
    if causal and softcap is None and own == seen and (window is None or own <= window):
        return scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
    mask = packed.mask(query, seen - own, own, causal, window)
    if softcap is None:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return _capped(query, key, value, mask, scaling or query.shape[3] ** -0.5, softcap)


def _capped(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, softcap: float
) -> Tensor:
    """Attention with logits squashed to ``softcap * tanh(x / softcap)`` (Gemma 2, arXiv:2408.00118)."""
    logits = torch.matmul(query, key.transpose(2, 3)) * scaling
    logits = torch.tanh(logits / softcap) * softcap
    if mask is not None:
        logits = logits + mask
    weights = torch.softmax(logits, dim=-1, dtype=torch.float32).to(query.dtype)
    return torch.matmul(weights, value)
