"""Attention of a packed row: inside each segment, nothing across."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from guerdon_service.backends.layout import Segment

PACKED = "guerdon_packed"
"""Name under which `transformers` finds the attention function. No mask function is registered under it,
and so `transformers` builds no mask."""

KEY_MULTIPLE = 32
"""Keys of a decoder's segment are padded to a multiple of this on CPU: a bf16 softmax over other lengths
takes up to 1.7 times as long."""

QUERY_MULTIPLE = 8
"""A decoder's queries are padded to a multiple of this on CPU: fewer take kernels that split the keys among
threads."""

_MATMUL_KEYS = range(48, 2048)
"""Numbers of keys for which an encoder's two bf16 products beat the fused kernel (1.3-1.5 times)."""

_QUERY_BLOCK = 128
"""Queries that two bf16 products take at a time, so that causal ones skip keys after their block."""


KeysAndValues = tuple[Tensor, Tensor]
"""Of one layer: [kv_heads, rows, head_dim] each."""


class PackedMasks:
    """Segments of one forward and their masks, which the layers share.

    Args:
        segments: they tile the packed row; rows after the last one are padding.
        earlier: keys and values of the rows before the first segment, by layer, from a forward of their
            own; None where the first segment begins at 0.
        kept: is filled with what each layer's queries see; None where nobody asks.
    """

    def __init__(
        self,
        segments: tuple[Segment, ...],
        earlier: Mapping[nn.Module, KeysAndValues] | None = None,
        kept: dict[nn.Module, KeysAndValues] | None = None,
    ) -> None:
        self.segments = segments
        self._earlier = earlier
        self._kept = kept
        self._masks: dict[tuple[Any, ...], Tensor | None] = {}

    def keys_and_values(self, layer: nn.Module, key: Tensor, value: Tensor) -> KeysAndValues:
        """What the layer's queries see: the earlier rows, then its own [kv_heads, T, head_dim]."""
        if self._earlier is not None:
            earlier_key, earlier_value = self._earlier[layer]
            key, value = torch.cat([earlier_key, key], dim=1), torch.cat([earlier_value, value], dim=1)
        if self._kept is not None:
            self._kept[layer] = key, value
        return key, value

    def mask(self, like: Tensor, sight: "_Sight", queries: int, keys: int) -> Tensor | None:
        """Additive mask [queries, keys] in the dtype of `like`, or None where every key is seen."""
        key = (like.dtype, sight, queries, keys)
        if key not in self._masks:
            self._masks[key] = _mask(like, sight, queries, keys)
        return self._masks[key]


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a segment's queries see.

    first: position of the first query among the keys.
    seen: keys; those after are padding.
    window: the first distance out of sight, as `transformers` passes it (`sliding_window`; ModernBERT's is
        half + 1), or None.
    """

    first: int
    seen: int
    causal: bool
    window: int | None


def _mask(like: Tensor, sight: _Sight, queries: int, keys: int) -> Tensor | None:
    key = torch.arange(keys, device=like.device)
    distance = torch.arange(sight.first, sight.first + queries, device=like.device)[:, None] - key
    hidden = (key >= sight.seen).expand_as(distance)
    if sight.causal:
        hidden = hidden | (distance < 0)
    if sight.window is not None:
        hidden = hidden | (distance.abs() >= sight.window)
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
    """Attention function of the packed forward, as `transformers` calls it.

    Args:
        query: [1, heads, T, head_dim]; `key` and `value` may have fewer heads (grouped queries).
        packed: handed down by the model's forward as a keyword argument.

    Returns:
        [1, T, heads, head_dim], zero in padding rows.
    """
    assert attention_mask is None, "the packed forward makes its own masks"
    rule = Rule(scaling or query.shape[3] ** -0.5, module.is_causal, sliding_window, softcap)
    grouped = query[0].unflatten(0, (key.shape[1], -1)).transpose(1, 2)
    return attend(grouped, *packed.keys_and_values(module, key[0], value[0]), packed, rule)[None], None


@dataclass(frozen=True, slots=True)
class Rule:
    """How a layer attends.

    scale: of logits.
    window: the first distance out of sight, or None.
    softcap: logits x become ``softcap * tanh(x / softcap)`` (arXiv:2408.00118), or None.
    """

    scale: float
    causal: bool
    window: int | None
    softcap: float | None


def attend(query: Tensor, key: Tensor, value: Tensor, packed: PackedMasks, rule: Rule) -> Tensor:
    """Attention inside each segment.

    Args:
        query: [kv_heads, T, groups, head_dim]: grouped queries need no copies of keys.
        key, value: [kv_heads, rows before the first segment + T, head_dim].

    Returns:
        [T, kv_heads * groups, head_dim], zero in padding rows.
    """
    kv_heads, length, groups, head_dim = query.shape
    out = query.new_zeros(length, kv_heads, groups, head_dim)
    pads = rule.causal and query.device.type == "cpu"
    earlier = key.shape[1] - length
    for segment in packed.segments:
        rows = slice(segment.start - earlier, segment.end - earlier)
        own = segment.end - segment.start
        seen = own + (segment.prompt[1] - segment.prompt[0] if segment.prompt else 0)
        sight = _Sight(seen - own, seen, rule.causal, rule.window)
        # equal segments reach the kernels in equal form: contiguous
        queries = _padded([query[:, rows]], QUERY_MULTIPLE if pads else 1)
        keys, values = (_padded(_seen(x, segment), KEY_MULTIPLE if pads else 1) for x in (key, value))
        run = _by_matmul if _prefers_matmul(query, rule, seen) else _fused
        answer = run(queries, keys, values, packed, sight, rule)
        out[rows] = answer[:, :own].transpose(0, 1)
    return out.flatten(1, 2)


def _seen(tensor: Tensor, segment: Segment) -> list[Tensor]:
    """Keys or values [kv_heads, _, head_dim] of the segment's queries: the prompt's, then its own."""
    parts = [tensor[:, segment.start : segment.end]]
    return parts if segment.prompt is None else [tensor[:, slice(*segment.prompt)], *parts]


def _padded(parts: list[Tensor], multiple: int) -> Tensor:
    """The parts joined along axis 1, contiguous, then zeros up to a multiple of `multiple`."""
    missing = -sum(part.shape[1] for part in parts) % multiple
    if missing:
        first = parts[0]
        parts = [*parts, first.new_zeros(first.shape[0], missing, *first.shape[2:])]
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0].contiguous()


def _prefers_matmul(query: Tensor, rule: Rule, seen: int) -> bool:
    in_bf16 = query.dtype == torch.bfloat16 and query.device.type == "cpu"
    return rule.softcap is not None or (in_bf16 and (rule.causal or seen in _MATMUL_KEYS))


def _fused(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedMasks, sight: _Sight, rule: Rule
) -> Tensor:
    queries, keys = query.shape[1], key.shape[1]
    plain = sight.causal and sight.first == 0 and (sight.window is None or queries <= sight.window)
    return scaled_dot_product_attention(
        query.transpose(1, 2),
        key[:, None].expand(-1, query.shape[2], -1, -1),
        value[:, None].expand(-1, query.shape[2], -1, -1),
        attn_mask=None if plain else packed.mask(query, sight, queries, keys),
        is_causal=plain,
        scale=rule.scale,
    ).transpose(1, 2)


def _by_matmul(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedMasks, sight: _Sight, rule: Rule
) -> Tensor:
    """Two matrix products, a block of queries at a time; in bf16 1.3 to 1.9 times as fast as `_fused`."""
    blocks = []
    size = _QUERY_BLOCK if sight.causal else query.shape[1]
    for start in range(0, query.shape[1], size):
        block = query[:, start : start + size]
        first = sight.first + start
        last = first + block.shape[1] if sight.causal else sight.seen
        keys = min(-(-last // KEY_MULTIPLE) * KEY_MULTIPLE, key.shape[1])
        there = replace(sight, first=first)
        mask = packed.mask(query, there, block.shape[1], keys)
        blocks.append(_weighed(block, key[:, :keys], value[:, :keys], mask, rule))
    return torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0]


def _weighed(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, rule: Rule) -> Tensor:
    kv_heads, own, groups, head_dim = query.shape
    rows = query.reshape(kv_heads, own * groups, head_dim)
    none = rows.new_zeros(1, 1, 1)
    logits = torch.baddbmm(none, rows, key.transpose(1, 2), beta=0, alpha=rule.scale)
    if rule.softcap is not None:
        logits = torch.tanh(logits / rule.softcap) * rule.softcap
    if mask is not None:
        logits.view(kv_heads, own, groups, -1).add_(mask[:, None])
    return torch.bmm(torch.softmax(logits, dim=-1), value).view(kv_heads, own, groups, head_dim)
