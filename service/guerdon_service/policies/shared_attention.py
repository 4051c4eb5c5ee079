"""Attention of n responses to one prompt whose keys and values are kept once, never copied per response."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

SHARED = "guerdon_shared_prompt"
"""Name under which `transformers` finds the attention function. No mask function is registered under it,
and so `transformers` builds no mask: all rows are equally long."""

PromptKeys = Sequence[tuple[Tensor, Tensor]]
"""Keys and values of the prompt by layer: float [1, num_kv_heads, P, D] each."""


def register_shared_attention() -> None:
    """Make `SHARED` known to `transformers`; calling it again changes nothing."""
    AttentionInterface.register(SHARED, shared_attention)


def shared_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    prompt: PromptKeys | None = None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Signature of an attention function of `transformers`.

    Args:
        query: float [B, H, Q, D]. key, value: [B, num_kv_heads, K, D], of what the cache holds.
        prompt: given, Q is 1, and the keys seen are the prompt's and the row's own; None in the prompt's own
            forward, where B is 1 and Q equals K.
    """
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if prompt is None:
        return _causal(query, key, value, sliding_window, softcap).transpose(1, 2).contiguous(), None
    prompt_key, prompt_value = prompt[module.layer_idx]
    if sliding_window is not None:  # the window ends with the query itself
        own = min(key.shape[2], sliding_window)
        seen = min(prompt_key.shape[2], sliding_window - own)
        key, value = key[:, :, -own:], value[:, :, -own:]
        start = prompt_key.shape[2] - seen
        prompt_key, prompt_value = prompt_key[:, :, start:], prompt_value[:, :, start:]
    return _joined(query, key, value, prompt_key[0], prompt_value[0], softcap), None


def _joined(
    query: Tensor, key: Tensor, value: Tensor, prompt_key: Tensor, prompt_value: Tensor, softcap: float | None
) -> Tensor:
    """One softmax over prompt and own keys: [B, 1, H, D]. The prompt's products are one GEMM for all rows."""
    rows, heads, _, width = query.shape
    kv_heads, length, _ = prompt_key.shape
    groups = heads // kv_heads
    grouped = query.reshape(rows, kv_heads, groups, width)
    flat = grouped.transpose(0, 1).reshape(kv_heads, rows * groups, width)
    on_prompt = torch.matmul(flat, prompt_key.transpose(1, 2)).view(kv_heads, rows, groups, length)
    on_own = torch.matmul(grouped, key.transpose(2, 3))
    scores = _capped(torch.cat([on_prompt.transpose(0, 1), on_own], -1), softcap)
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype)
    prompt_weights = weights[..., :length].transpose(0, 1).reshape(kv_heads, rows * groups, length)
    from_prompt = (
        torch.matmul(prompt_weights, prompt_value).view(kv_heads, rows, groups, width).transpose(0, 1)
    )
    from_own = torch.matmul(weights[..., length:], value)
    return (from_prompt + from_own).reshape(rows, 1, heads, width)


def _causal(
    query: Tensor, key: Tensor, value: Tensor, sliding_window: int | None, softcap: float | None
) -> Tensor:
    """The prompt among itself: [1, H, P, D]. `query` is scaled already."""
    length = query.shape[2]
    if softcap is None and (sliding_window is None or length <= sliding_window):
        return scaled_dot_product_attention(query, key, value, is_causal=True, scale=1.0, enable_gqa=True)
    place = torch.arange(length, device=query.device)
    distance = place[:, None] - place
    hidden = (distance < 0) | (distance >= (sliding_window or length))
    key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    scores = _capped(torch.matmul(query, key.transpose(2, 3)), softcap).masked_fill(hidden, float("-inf"))
    return torch.matmul(torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype), value)


def _capped(scores: Tensor, softcap: float | None) -> Tensor:
    return scores if softcap is None else softcap * torch.tanh(scores / softcap)
