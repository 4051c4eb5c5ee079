"""Attention by two matrix products: in bf16 without AMX 1.3 to 1.9 times as fast as the fused kernel."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from guerdon_service.backends.attention_masks import PackedMasks, Sight
from guerdon_service.backends.attention_rule import Rule

KEY_MULTIPLE = 32
"""Keys of a decoder's segment are padded to a multiple of this on CPU: a bf16 softmax over other lengths
takes up to 1.7 times as long."""

SHAPE_MULTIPLE = 16
"""An encoder's queries and keys are padded to a multiple of this: oneDNN makes code for each shape it meets,
which takes 0.8 ms for the two products of a length, a fifteenth of a short conversation's forward."""

_SUMS = (2.0**-60, 2.0**100)
"""Sums of a row's exponentials that tell enough: what bf16 cannot hold is below 2**-66 of them, and they
times a value overflow nowhere. MiniLM's go up to 2**121, one in thirty of its segments above 2**100."""

_QUERY_BLOCK = 128
"""Queries that two bf16 products take at a time, so that causal ones skip keys after their block."""


def by_products(
    query: Tensor, key: Tensor, value: Tensor, packed: PackedMasks, sight: Sight, rule: Rule
) -> Tensor:
    """A segment's attention, a block of queries at a time.

    Args:
        query: [kv_heads, queries, groups, head_dim]; key, value: [kv_heads, keys, head_dim].

    Returns:
        [kv_heads, queries, groups, head_dim].
    """
    blocks = []
    size = _QUERY_BLOCK if sight.causal else query.shape[1]
    for start in range(0, query.shape[1], size):
        block = query[:, start : start + size]
        first = sight.first + start
        last = first + block.shape[1] if sight.causal else sight.seen
        keys = min(-(-last // KEY_MULTIPLE) * KEY_MULTIPLE, key.shape[1])
        there = replace(sight, first=first)
        mask = partial(packed.mask, query, there, block.shape[1], keys)
        blocks.append(_weighed(block, key[:, :keys], value[:, :keys], mask, sight.seen, rule))
    return torch.cat(blocks, dim=1) if len(blocks) > 1 else blocks[0]


def _weighed(
    query: Tensor, key: Tensor, value: Tensor, mask: Callable[[], Tensor | None], seen: int, rule: Rule
) -> Tensor:
    kv_heads, own, groups, head_dim = query.shape
    rows = query.reshape(kv_heads, own * groups, head_dim)
    if not rule.causal and rule.softcap is None:
        window = mask() if rule.window is not None else None
        weighed = _by_exponentials(rows, key, value, window, seen, rule.scale)
        if weighed is not None:
            return weighed.view(query.shape)
    logits = _logits(rows, key, rule.scale)
    if rule.softcap is not None:
        logits = torch.tanh(logits / rule.softcap) * rule.softcap
    hidden = mask()
    if hidden is not None:
        logits.view(kv_heads, own, groups, -1).add_(hidden[:, None])
    return torch.bmm(torch.softmax(logits, dim=-1), value).view(query.shape)


def _by_exponentials(
    rows: Tensor, key: Tensor, value: Tensor, window: Tensor | None, seen: int, scale: float
) -> Tensor | None:
    """What `_weighed` answers, no maximum taken from a row; None where sums of exponentials tell too little.

    A column of ones beside the values makes the product add them up. Keys after the first `seen` need no
    mask: their values are 0, the column's too.
    """
    logits = _logits(rows, key, scale * math.log2(math.e))
    if window is not None:
        logits.unflatten(1, (len(window), -1)).add_(window[:, None])
    heads, num_keys, head_dim = value.shape
    with_ones = value.new_zeros(heads, num_keys, head_dim + 1)
    with_ones[:, :seen, :-1] = value[:, :seen]
    with_ones[:, :seen, -1] = 1.0
    summed = torch.bmm(torch.exp2_(logits), with_ones)
    sums = summed[..., -1:]
    least, most = torch.aminmax(sums[:, : seen * (rows.shape[1] // num_keys)])
    in_range = float(least) >= _SUMS[0] and float(most) <= _SUMS[1]
    return summed[..., :-1] / sums if in_range else None


def _logits(rows: Tensor, key: Tensor, scale: float) -> Tensor:
    return torch.baddbmm(rows.new_zeros(1, 1, 1), rows, key.transpose(1, 2), beta=0, alpha=scale)
