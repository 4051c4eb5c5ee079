"""Attention in bf16 on AMX: all segments of a packed row in one call, without copies of queries or keys."""

import ctypes

from torch import Tensor
from torch.nn.functional import pad

from guerdon_service.backends.attention_rule import Rule
from guerdon_service.backends.native.library import in_parts, library

HEAD_MULTIPLE = 32
"""Columns of a head; others are padded with zeros."""


class Heads(ctypes.Structure):
    """`Heads` of attention.h."""

    _fields_ = (("first", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("row", "head", "group")))


class Attention(ctypes.Structure):
    """`Attention` of attention.h."""

    _fields_ = (
        *((name, Heads) for name in ("query", "key", "value", "out")),
        ("segments", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("num_segments", "groups", "head_dim", "earlier")),
        *((name, ctypes.c_int64) for name in ("first_head", "last_head", "is_causal", "window")),
        *((name, ctypes.c_float) for name in ("scale", "softcap")),
    )


def coded_rule(rule: Rule) -> tuple[bool, int, float, float]:
    """The last fields of `Attention`."""
    return rule.causal, rule.window or 0, rule.scale, rule.softcap or 0.0


def attend_tiled(query: Tensor, key: Tensor, value: Tensor, segments: Tensor, rule: Rule) -> Tensor:
    """Attention inside each segment.

    Args:
        query: [kv_heads, T, groups, head_dim]; `takes_tiles` is true of it.
        key, value: [kv_heads, rows before the first segment + T, head_dim].
        segments: int32 [N, 4], rows of keys: begin and end of a segment, then of the prompt that it sees.

    Returns:
        [T, kv_heads * groups, head_dim], zeros in padding rows.

    Raises:
        MemoryError: what a segment's scores take is not to be had.
    """
    own_dim = query.shape[3]
    if own_dim % HEAD_MULTIPLE:
        query, key, value = (pad(x, (0, -own_dim % HEAD_MULTIPLE)) for x in (query, key, value))
    kv_heads, length, groups, head_dim = query.shape
    earlier = key.shape[1] - length
    out = query.new_empty(length, kv_heads, groups, head_dim)
    out[int(segments[-1, 1]) - earlier :] = 0
    query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
    heads = (
        Heads(query.data_ptr(), query.stride(1), query.stride(0), query.stride(2)),
        *(Heads(x.data_ptr(), x.stride(1), x.stride(0), 0) for x in (key, value)),
        Heads(out.data_ptr(), out.stride(0), out.stride(1), out.stride(2)),
    )

    def run(begin: int, end: int) -> None:
        sizes = (len(segments), groups, head_dim, earlier, begin, end)
        asked = Attention(*heads, segments.data_ptr(), *sizes, *coded_rule(rule))
        if library().guerdon_attend(ctypes.byref(asked)):
            raise MemoryError("no memory for the scores of a segment")

    in_parts(kv_heads, run)
    return out.flatten(1, 2)[..., :own_dim]
