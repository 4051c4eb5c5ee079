"""How a bf16 product on AMX is cut so that a row's bits depend on no other row.

oneDNN adds up long rows in parts there, and the number of rows and of threads decides where a part ends
(`src/cpu/x64/matmul/amx_blocking_heuristics.cpp`, seen in 3.12): 6 of 24 scores of the default model changed
with their batch. Up to some number of rows, which depends on the layer's shape, the parts are the same; what
it is is tried out when a model is loaded.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon_service.backends.threads import on_threads

LAYOUT_ROWS = 1
"""Rows that the weight's layout is chosen for. That of one row has blocks of 64 columns, and with it rows of
1,024 inputs and fewer are always one part; with blocks of 32 (eight rows and more) they are not."""
_SHORT = 480
"""Inputs that are one part in any layout: 32 rows and 32 columns of so many fill a core's 48 KiB."""
_MULTIPLE = 8
"""Of rows, as `packed.ROW_MULTIPLE`."""
_MOST = 512


@dataclass(frozen=True, slots=True)
class Steady:
    """Up to `num_rows` rows at a time, in multiples of `_MULTIPLE`; `one_thread`: on no more than one."""

    num_rows: int
    one_thread: bool


def is_unsteady(weight: Tensor) -> bool:
    """Whether a row's bits may depend on others in products with `weight` [out, in]."""
    is_long = weight.shape[1] > _SHORT
    return weight.dtype == torch.bfloat16 and is_long and torch.cpu._is_amx_tile_supported()


@functools.cache
def steady_rows(num_outputs: int, num_inputs: int, num_threads: int) -> Steady:
    """What holds of a weight [num_outputs, num_inputs] laid out for `LAYOUT_ROWS`.

    Forwards run on one thread, on half of `num_threads` or on all.
    """
    weight, rows = _telling(num_outputs, num_inputs)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, LAYOUT_ROWS)
    with on_threads(1):
        expected = _product(rows[:_MULTIPLE], packed)
    alone = _steady_on(1, rows, packed, expected)
    others = [_steady_on(n, rows, packed, expected) for n in {-(-num_threads // 2), num_threads} - {1}]
    shared = min([alone, *others])
    one_thread = shared < min(alone, _MULTIPLE * 4)
    return Steady(alone if one_thread else shared, one_thread)


def _steady_on(num_threads: int, rows: Tensor, packed: Tensor, expected: Tensor) -> int:
    """The most rows up to which the first ones are as expected."""
    with on_threads(num_threads):
        for size in range(_MULTIPLE, len(rows) + 1, _MULTIPLE):
            if not torch.equal(_product(rows[:size], packed)[:_MULTIPLE], expected):
                return size - _MULTIPLE
    return len(rows)


def _telling(num_outputs: int, num_inputs: int) -> tuple[Tensor, Tensor]:
    """A weight and rows whose second half takes away what the first adds: what is left are the roundings."""
    half = num_inputs // 2
    made = torch.Generator().manual_seed(0)
    weight, rows = (torch.randn(n, num_inputs, generator=made).bfloat16() for n in (num_outputs, _MOST))
    weight[:, half : 2 * half] = -weight[:, :half]
    rows[:, half : 2 * half] = rows[:, :half]
    return weight, rows


def _product(rows: Tensor, packed: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(rows, packed, None, "none", [], "")  # type: ignore[no-any-return]
