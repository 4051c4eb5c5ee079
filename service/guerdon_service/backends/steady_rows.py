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
from guerdon_service.backends.threads import on_threads

_LAYOUTS = (1024, 1)
"""Rows that a weight's layout may be chosen for. That of 1,024 has blocks of 32 columns and is the faster in
large pieces; that of one has blocks of 64, and any number of rows adds up 1,024 inputs in one part."""
_SHORT = 480
"""Inputs that are one part always: 32 rows and 32 columns of so many fill a core's 48 KiB."""
_MULTIPLE = 8
"""Of rows, as `packed.ROW_MULTIPLE`."""
_SIZES = (2048, *range(1024, 64, -32), *range(64, 0, -_MULTIPLE))
_TYPICAL_ROWS = (300, 1000)
_COST_OF_PIECE = 32
"""In rows: two products of 32 take as long as one of 96."""
_PADDING_SHARE = 8
"""Of a product's time is what a copy of its rows takes."""


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
def steady_rows(num_outputs: int, num_inputs: int, num_threads: int) -> Steady:
    """What holds of a weight [num_outputs, num_inputs].

    Forwards run on one thread, on half of `num_threads` or on all.
    """
    layouts = [_steady_in(layout, num_outputs, num_inputs, num_threads) for layout in _LAYOUTS]
    return min(layouts, key=lambda steady: sum(_cost(steady.pieces(n)) / n for n in _TYPICAL_ROWS))


def _steady_in(layout_rows: int, num_outputs: int, num_inputs: int, num_threads: int) -> Steady:
    weight, rows = _telling(num_outputs, num_inputs)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, layout_rows)
    with on_threads(1):
        expected = _product(rows, packed)
        alone = [size for size in _SIZES if _gives(expected, rows, packed, size)]
    shared = alone
    for threads in {-(-num_threads // 2), num_threads} - {1}:
        with on_threads(threads):
            shared = [size for size in shared if _gives(expected, rows, packed, size)]
    one_thread = _MULTIPLE not in shared
    return Steady(layout_rows, tuple(alone if one_thread else shared), one_thread)


def _gives(expected: Tensor, rows: Tensor, packed: Tensor, size: int) -> bool:
    """Whether `size` rows, the same few again and again, come out as expected everywhere."""
    times = size // _MULTIPLE
    return torch.equal(_product(rows.repeat(times, 1), packed), expected.repeat(times, 1))


def _telling(num_outputs: int, num_inputs: int) -> tuple[Tensor, Tensor]:
    """A weight, and eight rows whose second half takes away what the first adds: roundings are left."""
    half = num_inputs // 2
    made = torch.Generator().manual_seed(0)
    weight, rows = (torch.randn(n, num_inputs, generator=made).bfloat16() for n in (num_outputs, _MULTIPLE))
    weight[:, half : 2 * half] = -weight[:, :half]
    rows[:, half : 2 * half] = rows[:, :half]
    return weight, rows


def _product(rows: Tensor, packed: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, packed, None, "none", [], "")  # type: ignore[no-any-return]
