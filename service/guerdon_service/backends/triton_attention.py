"""Attention of a packed row's tiles on CUDA: keys are read where they lie, a prompt's by all its responses.

Flash attention (Dao 2023, arXiv:2307.08691) over two runs of keys, the prompt's and the segment's own. Query
heads that share a head of keys share a tile. Only blocks at a run's end, and those with keys that some query
does not see, are masked.
"""

import functools
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.tile_plan import TILE_QUERIES, heads_of_tile

_KEYS, _WARPS, _STAGES = 64, 8, 3
"""The fastest of six settings on an H100, heads of 128 columns (docs/performance.md)."""
_RESERVED_BYTES = 8192
"""Of shared memory, for what Triton keeps besides queries, keys and values (estimated)."""


@triton.jit
def _over(
    acc, total, most, q, k, v, k_stride, v_stride, origin, begin, end, place, key_place, scale, softcap,
    HEAD_DIM: tl.constexpr, COLUMNS: tl.constexpr, KEYS: tl.constexpr, CAUSAL: tl.constexpr,
    WINDOW: tl.constexpr, SOFTCAP: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """What is known after keys `begin` to `end`; that at `origin` has `key_place` in its conversation."""
    column = tl.arange(0, COLUMNS)
    for start in range(begin, end, KEYS):
        row = start + tl.arange(0, KEYS)
        offset = row[:, None].to(tl.int64)
        inside = (row < end)[:, None] & (column < HEAD_DIM)[None, :]
        if MASKED or COLUMNS != HEAD_DIM:
            keys = tl.load(k + offset * k_stride + column[None, :], inside, 0.0)
        else:
            keys = tl.load(k + offset * k_stride + column[None, :])
        logits = tl.dot(q, tl.trans(keys)) * scale
        if SOFTCAP:
            logits = (2 * tl.sigmoid(2 * logits / softcap) - 1) * softcap
        logits = logits * 1.4426950408889634  # log2(e): powers of two are cheaper
        if MASKED or WINDOW:
            distance = place[:, None] - (key_place + row - origin)[None, :]
            seen = tl.broadcast_to((row < end)[None, :], distance.shape)
            if CAUSAL:
                seen = seen & (distance >= 0)
            if WINDOW:
                seen = seen & (distance < WINDOW) & (distance > -WINDOW)
            logits = tl.where(seen, logits, float("-inf"))
        higher = tl.maximum(most, tl.max(logits, 1))
        base = tl.where(higher == float("-inf"), 0.0, higher)  # of queries that have seen nothing yet
        shares = tl.math.exp2(logits - base[:, None])
        shrink = tl.math.exp2(most - base)
        total = total * shrink + tl.sum(shares, 1)
        if MASKED or COLUMNS != HEAD_DIM:
            values = tl.load(v + offset * v_stride + column[None, :], inside, 0.0)
        else:
            values = tl.load(v + offset * v_stride + column[None, :])
        acc = tl.dot(shares.to(values.dtype), values, acc * shrink[:, None])
        most = higher
    return acc, total, most


@triton.jit
def _attended(
    query, key, value, out, tiles, q_stride, k_stride, v_stride, out_stride, scale, softcap,
    GROUPS: tl.constexpr, HEADS: tl.constexpr, HEAD_DIM: tl.constexpr, COLUMNS: tl.constexpr,
    QUERIES: tl.constexpr, KEYS: tl.constexpr, CAUSAL: tl.constexpr, WINDOW: tl.constexpr,
    SOFTCAP: tl.constexpr,
):  # fmt: skip
    tile = tiles + tl.program_id(0) * 6
    first, end = tl.load(tile), tl.load(tile + 1)
    prompt, prompt_end = tl.load(tile + 2), tl.load(tile + 3)
    own, own_end = tl.load(tile + 4), tl.load(tile + 5)
    kv_head = tl.program_id(1) // (GROUPS // HEADS)
    member, column = tl.arange(0, QUERIES), tl.arange(0, COLUMNS)
    row, head = first + member // HEADS, tl.program_id(1) * HEADS + member % HEADS
    inside = (row < end)[:, None] & (column < HEAD_DIM)[None, :]
    at = head[:, None] * HEAD_DIM + column[None, :]
    q = tl.load(query + row[:, None].to(tl.int64) * q_stride + at, inside, 0.0)
    k, v = key + kv_head * HEAD_DIM, value + kv_head * HEAD_DIM
    acc, total = tl.zeros((QUERIES, COLUMNS), tl.float32), tl.zeros((QUERIES,), tl.float32)
    most = tl.full((QUERIES,), float("-inf"), tl.float32)
    before = prompt_end - prompt
    place = before + row - own
    unseen = 0  # keys out of the first query's sight, and so of all
    if WINDOW:
        unseen = tl.maximum(before + first - own - WINDOW + 1, 0)
    begin = prompt + tl.minimum(unseen, before) // KEYS * KEYS
    whole = prompt + before // KEYS * KEYS
    acc, total, most = _over(
        acc, total, most, q, k, v, k_stride, v_stride, prompt, begin, whole, place, 0, scale, softcap,
        HEAD_DIM, COLUMNS, KEYS, CAUSAL, WINDOW, SOFTCAP, False,
    )  # fmt: skip
    acc, total, most = _over(
        acc, total, most, q, k, v, k_stride, v_stride, prompt, tl.maximum(whole, begin), prompt_end, place, 0,
        scale, softcap,
        HEAD_DIM, COLUMNS, KEYS, CAUSAL, WINDOW, SOFTCAP, True,
    )  # fmt: skip
    begin = own + tl.maximum(unseen - before, 0) // KEYS * KEYS
    seen_by_all = tl.minimum(first, own_end) if CAUSAL else own_end
    whole = own + tl.maximum(seen_by_all - own, 0) // KEYS * KEYS
    acc, total, most = _over(
        acc, total, most, q, k, v, k_stride, v_stride, own, begin, whole, place, before, scale, softcap,
        HEAD_DIM, COLUMNS, KEYS, CAUSAL, WINDOW, SOFTCAP, False,
    )  # fmt: skip
    acc, total, most = _over(
        acc, total, most, q, k, v, k_stride, v_stride, own, tl.maximum(whole, begin), own_end, place, before,
        scale, softcap,
        HEAD_DIM, COLUMNS, KEYS, CAUSAL, WINDOW, SOFTCAP, True,
    )  # fmt: skip
    answer = acc / tl.where(total == 0, 1.0, total)[:, None]
    tl.store(out + row[:, None].to(tl.int64) * out_stride + at, answer.to(out.dtype.element_ty), inside)


def attended(query: Tensor, key: Tensor, value: Tensor, tiles: Tensor, rule: Rule) -> Tensor:
    """`attention_tiles.TileKernel`."""
    _, num_heads, head_dim = query.shape
    groups = num_heads // key.shape[1]
    heads = heads_of_tile(groups)
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    _attended[(len(tiles), num_heads // heads)](
        query, key, value, out, tiles, query.stride(0), key.stride(0), value.stride(0), out.stride(0),
        rule.scale, rule.softcap or 0.0, groups, heads, head_dim, _columns(head_dim), TILE_QUERIES, _KEYS,
        rule.causal, rule.window or 0, rule.softcap is not None,
        num_warps=_WARPS, num_stages=_stages(query.device, head_dim),
    )  # fmt: skip
    return out


def is_able(dtype: torch.dtype, head_dim: int) -> bool:
    """Whether this device has the memory for heads of this size; compiles, to know that it can.

    Raises:
        RuntimeError: it cannot.
    """
    device = torch.device("cuda", torch.cuda.current_device())
    if not _stages(device, head_dim):
        return False
    heads = torch.zeros(1, 1, head_dim, dtype=dtype, device=device)
    attended(
        heads, heads, heads, torch.zeros(1, 6, dtype=torch.int32, device=device), Rule(1.0, True, None, None)
    )
    return True


def _columns(head_dim: int) -> Any:
    return max(triton.next_power_of_2(head_dim), 16)


@functools.cache
def _stages(device: torch.device, head_dim: int) -> int:
    """Blocks of keys and values that are on their way at once, as many as fit, 0 where none does."""
    if device.type != "cuda":
        return _STAGES
    properties: Any = torch.cuda.get_device_properties(device)
    memory = properties.shared_memory_per_block_optin - _RESERVED_BYTES
    row_bytes = 2 * _columns(head_dim)
    return int(max(0, min(_STAGES, (memory - TILE_QUERIES * row_bytes) // (2 * _KEYS * row_bytes))))
