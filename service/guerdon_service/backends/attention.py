"""Attention of a packed row: inside each segment, nothing across."""

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from guerdon_service.backends.attention_masks import PackedMasks, Sight
from guerdon_service.backends.attention_products import KEY_MULTIPLE, SHAPE_MULTIPLE, by_products
from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.attention_tiles import attend_tiles
from guerdon_service.backends.layout import Segment
from guerdon_service.backends.native.attention import attend_tiled
from guerdon_service.backends.native.library import takes_tiles

PACKED = "guerdon_packed"
"""Name under which `transformers` finds the attention function. No mask function is registered under it,
and so `transformers` builds no mask."""

QUERY_MULTIPLE = 8
"""A decoder's queries are padded to a multiple of this on CPU: fewer take kernels that split the keys among
threads."""

_MATMUL_KEYS = range(48, 2048)
"""Numbers of keys for which an encoder's two bf16 products beat the fused kernel (1.3 to 1.9 times)."""


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
        [1, T, heads, head_dim], something finite in padding rows.
    """
    assert attention_mask is None, "the packed forward makes its own masks"
    rule = Rule(scaling or query.shape[3] ** -0.5, module.is_causal, sliding_window, softcap)
    grouped = query[0].unflatten(0, (key.shape[1], -1)).transpose(1, 2)
    return attend(grouped, *packed.keys_and_values(module, key[0], value[0]), packed, rule)[None], None


class JointAttention:
    """`attend`, of an encoder's queries, keys and values in one.

    Args:
        own: what a layer of BERT, RoBERTa or XLM-R attends with, of `transformers`.
    """

    def __init__(self, own: Any) -> None:
        self.num_heads, self.head_dim = own.num_attention_heads, own.attention_head_size
        self.rule = Rule(own.scaling, causal=False, window=None, softcap=None)

    def __call__(self, qkv: Tensor, packed: PackedMasks) -> Tensor:
        """[T, hidden] of queries, keys and values [T, 3 * hidden]."""
        query, key, value = qkv.unflatten(1, (3, self.num_heads, -1)).permute(1, 2, 0, 3).unbind()
        return attend(query[:, :, None], key, value, packed, self.rule).flatten(1)


def attend(query: Tensor, key: Tensor, value: Tensor, packed: PackedMasks, rule: Rule) -> Tensor:
    """Attention inside each segment.

    Args:
        query: [kv_heads, T, groups, head_dim]: grouped queries need no copies of keys.
        key, value: [kv_heads, rows before the first segment + T, head_dim].

    Returns:
        [T, kv_heads * groups, head_dim], something finite in padding rows.
    """
    if packed.kernel is not None:
        tiles = packed.tiles(query, query.shape[2], causal=rule.causal)
        return attend_tiles(query, key, value, tiles, rule, packed.kernel)
    if takes_tiles(query):
        return attend_tiled(query, key, value, packed.table, rule)
    kv_heads, length, groups, head_dim = query.shape
    answers = []
    earlier = key.shape[1] - length
    for segment in packed.segments:
        rows = slice(segment.start - earlier, segment.end - earlier)
        own = segment.end - segment.start
        seen = own + (segment.prompt[1] - segment.prompt[0] if segment.prompt else 0)
        sight = Sight(seen - own, seen, rule.causal, rule.window)
        run = by_products if _prefers_matmul(query, rule, seen) else _fused
        query_multiple, key_multiple = _multiples(query, rule, run is by_products)
        queries = _padded([query[:, rows]], query_multiple)
        keys, values = (_padded(_seen(x, segment), key_multiple) for x in (key, value))
        answer = run(queries, keys, values, packed, sight, rule)
        answers.append(answer[:, :own].transpose(0, 1))
    padding = length + earlier - packed.segments[-1].end
    answers.append(query.new_zeros(padding, kv_heads, groups, head_dim))
    return torch.cat(answers).flatten(1, 2)


def _seen(tensor: Tensor, segment: Segment) -> list[Tensor]:
    """Keys or values [kv_heads, _, head_dim] of the segment's queries: the prompt's, then its own."""
    parts = [tensor[:, segment.start : segment.end]]
    return parts if segment.prompt is None else [tensor[:, slice(*segment.prompt)], *parts]


def _padded(parts: list[Tensor], multiple: int) -> Tensor:
    """The parts joined along axis 1, then zeros up to a multiple of `multiple`.

    Equal segments reach the kernels in equal form: contiguous.
    """
    missing = -sum(part.shape[1] for part in parts) % multiple
    if missing:
        first = parts[0]
        parts = [*parts, first.new_zeros(first.shape[0], missing, *first.shape[2:])]
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0].contiguous()


def _multiples(query: Tensor, rule: Rule, by_products: bool) -> tuple[int, int]:
    """Of queries and keys."""
    if query.device.type != "cpu":
        return 1, 1
    if rule.causal:
        return QUERY_MULTIPLE, KEY_MULTIPLE
    return (SHAPE_MULTIPLE, SHAPE_MULTIPLE) if by_products else (1, 1)


def _prefers_matmul(query: Tensor, rule: Rule, seen: int) -> bool:
    if rule.softcap is not None:
        return True
    in_bf16 = query.dtype == torch.bfloat16 and query.device.type == "cpu"
    return in_bf16 and (rule.causal or seen in _MATMUL_KEYS)


def _fused(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedMasks, sight: Sight, rule: Rule
) -> Tensor:
    queries, keys = query.shape[1], key.shape[1]
    plain = sight.causal and sight.first == 0 and (sight.window is None or queries <= sight.window)
    run = partial(
        scaled_dot_product_attention,
        attn_mask=None if plain else packed.mask(query, sight, queries, keys),
        is_causal=plain,
        scale=rule.scale,
    )
    if query.shape[2] == 1:  # so that the answers of a query's heads lie side by side
        return run(query[None, :, :, 0], key[None], value[None])[0, :, :, None]
    each = (x[:, None].expand(-1, query.shape[2], -1, -1) for x in (key, value))
    return run(query.transpose(1, 2), *each).transpose(1, 2)
