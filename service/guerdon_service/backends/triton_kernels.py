"""What lies between a decoder's products, each in one pass over memory: norms, rotation, gates. For CUDA.

Each program computes whole rows, or elements, in fp32 with sizes that depend on the model alone, and rounds
once: a row's bits depend on no other row. Importing this module needs Triton, which torch for CUDA brings.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from guerdon_service.backends.decoder_parts import Norm
from guerdon_service.backends.prepacked_linear import Activation

_HEADS = 8
"""Heads that a program rotates together."""
_COLUMNS = 1024
"""Elements that a program gates."""


@triton.jit
def _normed(rows, weight, out, eps, SIZE: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * SIZE
    columns = tl.arange(0, BLOCK)
    inside = columns < SIZE
    x = tl.load(rows + at + columns, inside, 0.0).to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, 0) / SIZE + eps)
    y = x * scale * tl.load(weight + columns, inside, 0.0)
    tl.store(out + at + columns, y.to(out.dtype.element_ty), inside)


def normed(rows: Tensor, norm: Norm) -> Tensor:
    """The norm of rows [T, n], which lie densely."""
    out = torch.empty_like(rows)
    size = rows.shape[1]
    block: Any = triton.next_power_of_2(size)
    num_warps = min(max(block // 256, 1), 16)
    _normed[(len(rows),)](rows, norm.weight, out, norm.eps, size, block, num_warps=num_warps)
    return out


@triton.jit
def _turned(
    heads, weight, cos, sin, row_stride, angle_stride, eps,
    NUM_HEADS: tl.constexpr, HALF: tl.constexpr, HEADS: tl.constexpr, BLOCK: tl.constexpr,
    NORMS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    head = (tl.program_id(1) * HEADS + tl.arange(0, HEADS))[:, None]
    column = tl.arange(0, BLOCK)[None, :]
    is_angle = column < HALF
    inside = (head < NUM_HEADS) & is_angle
    offset = head * (2 * HALF) + column
    at = heads + row * row_stride + offset
    x = tl.load(at, inside, 0.0).to(tl.float32)
    y = tl.load(at + HALF, inside, 0.0).to(tl.float32)
    if NORMS:
        scale = tl.rsqrt((tl.sum(x * x, 1) + tl.sum(y * y, 1)) / (2 * HALF) + eps)[:, None]
        x = x * scale * tl.load(weight + offset, inside, 0.0)
        y = y * scale * tl.load(weight + offset + HALF, inside, 0.0)
    angle = row * angle_stride + column
    c = tl.load(cos + angle, is_angle, 0.0).to(tl.float32)
    s = tl.load(sin + angle, is_angle, 0.0).to(tl.float32)
    tl.store(at, (x * c - y * s).to(heads.dtype.element_ty), inside)
    tl.store(at + HALF, (y * c + x * s).to(heads.dtype.element_ty), inside)


def turn(heads: Tensor, norms: Norm | None, cos: Tensor, sin: Tensor) -> None:
    """Norm and rotate [T, heads, head_dim] in place (arXiv:2104.09864); heads of a row lie densely.

    Args:
        norms: weight [heads, head_dim], or None.
        cos, sin: [T, head_dim] of angles by which both halves of a head turn.
    """
    size, num_heads, head_dim = heads.shape
    block: Any = triton.next_power_of_2(head_dim // 2)
    _turned[(size, triton.cdiv(num_heads, _HEADS))](
        heads, norms.weight if norms else heads, cos, sin, heads.stride(0), cos.stride(0),
        norms.eps if norms else 0.0, num_heads, head_dim // 2, _HEADS, block, norms is not None, num_warps=4,
    )  # fmt: skip


@triton.jit
def _gated(both, out, SIZE: tl.constexpr, BLOCK: tl.constexpr, IS_SILU: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < SIZE
    gate = tl.load(both + row * (2 * SIZE) + column, inside, 0.0).to(tl.float32)
    up = tl.load(both + row * (2 * SIZE) + SIZE + column, inside, 0.0).to(tl.float32)
    # 0.5 (1 + tanh(z)) is sigmoid(2 z); z is sqrt(2 / pi) (x + 0.044715 x^3), arXiv:1606.08415
    steep = gate if IS_SILU else 1.5957691216057308 * (gate + 0.044715 * gate * gate * gate)
    tl.store(out + row * SIZE + column, (gate * tl.sigmoid(steep) * up).to(out.dtype.element_ty), inside)


def gated(both: Tensor, activation: Activation) -> Tensor:
    """[T, n] of gates and what they let through [T, 2n], which lies densely; `silu` or `gelu_tanh`."""
    size = both.shape[1] // 2
    out = both.new_empty(len(both), size)
    grid = (len(both), triton.cdiv(size, _COLUMNS))
    _gated[grid](both, out, size, _COLUMNS, activation == "silu", num_warps=4)
    return out
