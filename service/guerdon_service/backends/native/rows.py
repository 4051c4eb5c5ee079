"""What each row of a packed forward goes through by itself, on AMX: steps of rows.c.

All steps of a layer between two attentions are one call, a chunk of rows at a time. A row's bits depend on no
other row, nor on the number of rows or threads: each sum is over all its terms in one order.
"""

import ctypes
from collections.abc import Mapping, Sequence
from typing import get_args

import torch
from torch import Tensor

from guerdon_service.backends.native.library import in_parts, library
from guerdon_service.backends.native.steps import After, Multiply, Norm, Quantise, Rotate, Step
from guerdon_service.backends.native.weight import BLOCK


class RowSteps:
    """Steps that rows go through one after another.

    Rows are tensors by name; those that a call does not give are kept for a chunk of rows alone.

    Args:
        widths: columns of the rows that no step multiplies into.

    Attributes:
        code: the steps, as `Step` of rows.h.
    """

    def __init__(self, steps: Sequence[Step], widths: dict[str, int]) -> None:
        made = {s.to: s.columns for s in steps if isinstance(s, Multiply | Quantise)}
        self._widths = {**made, **widths}
        self._steps = tuple(steps)  # what the addresses below point to
        names = list(self._widths)
        self.code = (_Step * len(steps))(*(_coded(step, names) for step in steps))

    def __call__(self, **given: Tensor) -> None:
        """Fill those of the given rows [T, columns] that steps write."""
        num_rows = len(next(iter(given.values())))
        for name, rows in given.items():
            assert rows.dtype == torch.bfloat16 and rows.is_contiguous(), name
            assert rows.shape == (num_rows, self._widths[name]), name
        rows_of = self.given({name: rows.data_ptr() for name, rows in given.items()})
        sizes = [ctypes.c_int64(n) for n in (len(self.code), len(rows_of))]

        def run(begin: int, end: int) -> None:
            bounds = (ctypes.c_int64(begin * BLOCK), ctypes.c_int64(min(end * BLOCK, num_rows)))
            if library().guerdon_take(self.code, sizes[0], rows_of, sizes[1], *bounds):
                raise MemoryError("no memory for a chunk of rows")

        in_parts(-(-num_rows // BLOCK), run)

    def given(self, addresses: Mapping[str, int]) -> "ctypes.Array[_Given]":
        """`Given` of rows.h, where rows of these names begin; the others are kept for a chunk alone."""
        sizes = self._widths.items()
        return (_Given * len(sizes))(*(_Given(addresses.get(name), n, BLOCK, n) for name, n in sizes))


_MULTIPLY, _NORM, _ROTATE, _QUANTISE = range(4)
"""Kinds of steps in rows.c."""


class _Given(ctypes.Structure):
    _fields_ = (("first", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("row", "chunk", "columns")))


class _Step(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("kind", "source", "to", "other", "more")),
        *((name, ctypes.c_void_p) for name in ("tiles", "weight", "bias")),
        *((name, ctypes.c_int64) for name in ("inputs", "outputs", "after")),
        *((name, ctypes.c_double) for name in ("out_scale", "out_zero")),
        *((name, ctypes.c_int64) for name in ("begin", "size", "count")),
        ("epsilon", ctypes.c_double),
        ("again", ctypes.c_void_p),
    )


def _coded(step: Step, names: list[str]) -> _Step:
    def place(name: str | None) -> int:
        return -1 if name is None else names.index(name)

    match step:
        case Multiply(weight=weight):
            code = _Step(_MULTIPLY, place(step.source), place(step.to), place(step.other))
            code.tiles, code.weight, code.bias = map(_address, (weight.tiles, weight.scales, weight.bias))
            code.inputs, code.outputs = weight.inputs, weight.outputs
            code.after = get_args(After).index(step.after)
            code.out_scale, code.out_zero = 1 / step.out_scale, step.out_zero
        case Norm():
            code = _Step(_NORM, place(step.source), place(step.to), place(step.other))
            code.weight, code.bias = map(_address, (step.weight, step.bias))
            code.begin, code.size, code.count = step.begin, len(step.weight), step.count
            code.epsilon = step.epsilon
        case Rotate():
            code = _Step(_ROTATE, -1, place(step.to), place("cos"), place("sin"))
            code.size, code.count = step.head_dim, step.count
        case Quantise():
            code = _Step(_QUANTISE, place(step.source), place(step.to), -1)
            code.weight, code.bias, code.again = map(_address, (step.factor, step.offset, step.again))
            code.size, code.count = step.size, 0 if step.again is None else len(step.again)
    return code


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()
