"""How a bf16 product on AMX is cut into pieces so that a row's bits depend on no other row.

oneDNN adds up long rows in parts there, and the numbers of rows and of threads decide where a part ends
(`src/cpu/x64/matmul/amx_blocking_heuristics.cpp`, seen in 3.12): 6 of 24 scores of the default model changed
with their batch. Which numbers of rows give the same bits depends on the layer's shape and on the layout of
its weight. It is tried out when a model is loaded, and products are put together from pieces of such sizes.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon_service.backends import native_bf16
from guerdon_service.backends.packed import ROW_MULTIPLE
from guerdon_service.backends.threads import on_threads

_LAYOUTS = {1024: 1.0, 1: 1.25}
"""Rows that a weight's layout may be chosen for, and what a row costs in it. That of 1,024 has blocks of 32
columns; that of one has blocks of 64, and any number of rows adds up 1,024 inputs in one part."""
_LEAST = 64
"""In the layout of 1,024, some 40 to 500 rows are cut alike, and fewer or more in other ways."""
_SHORT = 480
"""Inputs that are one part always: 32 rows and 32 columns of so many fill a core's 48 KiB."""
_SIZES = (2048, *range(1024, 64, -32), *range(64, 0, -ROW_MULTIPLE))
_TYPICAL_ROWS = (300, 1000)
_COST_OF_PIECE = 32
"""In rows: two products of 32 take as long as one of 96."""
_PADDING_SHARE = 8
"""Of a product's time is what a copy of its rows takes."""

_Bits = dict[int, bytes]
"""Of a few rows, by the number of rows of the product; none where they differ from their repetitions."""


@dataclass(frozen=True, slots=True)
class Steady:
    """What a layer's products are put together from.

    layout_rows: what the weight's layout is chosen for.
    sizes: of pieces, largest first.
    one_thread: on more, bits would differ.
    """

    layout_rows: int
    sizes: tuple[int, ...]
    one_thread: bool

    def pieces(self, num_rows: int) -> tuple[int, ...]:
        """Sizes that hold `num_rows` rows; the last may hold more."""
        return _pieces(self.sizes, num_rows)


@functools.cache
def _pieces(sizes: tuple[int, ...], num_rows: int) -> tuple[int, ...]:
    holding = min((size for size in sizes if size >= num_rows), default=None)
    largest = max((size for size in sizes if size <= num_rows), default=None)
    if largest is None or largest == num_rows:
        return (holding or sizes[-1],)
    apart = (largest, *_pieces(sizes, num_rows - largest))
    if holding is None or _cost((holding,)) + holding // _PADDING_SHARE > _cost(apart):
        return apart
    return (holding,)


def _cost(pieces: tuple[int, ...]) -> int:
    return sum(pieces) + _COST_OF_PIECE * len(pieces)


def is_unsteady(weight: Tensor) -> bool:
    """Whether a row's bits may depend on others in products with `weight` [out, in]."""
    is_long = weight.shape[1] > _SHORT
    return weight.dtype == torch.bfloat16 and is_long and native_bf16.has_amx()


@functools.cache
def steady_rows(num_outputs: int, num_inputs: int, num_threads: int, most_rows: int | None = None) -> Steady:
    """What holds of a weight [num_outputs, num_inputs].

    Forwards run on one thread, on half of `num_threads` or on all.

    Args:
        most_rows: of a product; None: as many as a forward has, in pieces as large as can be.
    """
    typical = [min(rows, most_rows or rows) for rows in _TYPICAL_ROWS]
    choices = []
    for layout in _LAYOUTS:
        bits = _tried_out(layout, num_outputs, num_inputs, num_threads)
        choices.append(_like(layout, ROW_MULTIPLE, bits))
        if most_rows is not None and bits[0][_LEAST]:
            other = _like(layout, _LEAST, bits)
            choices += [] if other.one_thread else [other]
    return min(choices, key=lambda steady: sum(_typical_cost(steady, rows) for rows in typical))


def _typical_cost(steady: Steady, num_rows: int) -> float:
    return _cost(steady.pieces(num_rows)) * _LAYOUTS[steady.layout_rows] / num_rows


def _tried_out(layout_rows: int, num_outputs: int, num_inputs: int, num_threads: int) -> list[_Bits]:
    """Bits on one thread, then on others that forwards run on."""
    weight, rows = _telling(num_outputs, num_inputs)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, layout_rows)
    bits = []
    for threads in sorted({1, -(-num_threads // 2), num_threads}):
        with on_threads(threads):
            bits.append({size: _bits(rows, packed, size) for size in _SIZES})
    return bits


def _like(layout_rows: int, least: int, bits: list[_Bits]) -> Steady:
    """Pieces of sizes that give the bits of `least` rows."""
    alone, *_ = bits
    one_thread = any(of[least] != alone[least] for of in bits)
    asked = bits[:1] if one_thread else bits
    sizes = [size for size in _SIZES if all(of[size] == alone[least] for of in asked)]
    return Steady(layout_rows, tuple(sizes), one_thread)


def _bits(rows: Tensor, packed: Tensor, size: int) -> bytes:
    """Of a few outputs among `size`, the same again and again; none where those differ among themselves."""
    outputs = _product(rows.repeat(size // ROW_MULTIPLE, 1), packed)
    few = outputs[:ROW_MULTIPLE]
    same = torch.equal(outputs, few.repeat(size // ROW_MULTIPLE, 1))
    return few.view(torch.int16).numpy().tobytes() if same else b""


def _telling(num_outputs: int, num_inputs: int) -> tuple[Tensor, Tensor]:
    """A weight, and eight rows whose second half takes away what the first adds: roundings are left."""
    half = num_inputs // 2
    made = torch.Generator().manual_seed(0)
    weight, rows = (
        torch.randn(n, num_inputs, generator=made).bfloat16() for n in (num_outputs, ROW_MULTIPLE)
    )
    weight[:, half : 2 * half] = -weight[:, :half]
    rows[:, half : 2 * half] = rows[:, :half]
    return weight, rows


def _product(rows: Tensor, packed: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, packed, None, "none", [], "")  # type: ignore[no-any-return]
