"""What each row of a packed forward goes through by itself, in bf16 on AMX: steps of rows.c.

All steps of a layer between two attentions are one call, a chunk of rows at a time. A row's bits depend on no
other row, nor on the number of rows or threads: each sum is over all its terms in one order.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from guerdon_service.backends.native.library import in_parts, library

BLOCK = 32
"""Rows and outputs that are multiplied together; inputs and outputs are a multiple of it."""

GateActivation = Literal["silu", "gelu_tanh"]
After = Literal["none", "gelu", "plus", GateActivation]
"""What follows a product, in the order of multiply.h."""


class TiledWeight:
    """A weight [out, in] and a bias [out] as the kernels read them, padded with zeros to whole tiles."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        padded = pad(weight, (0, -weight.shape[1] % BLOCK, 0, -weight.shape[0] % BLOCK)).contiguous()
        self.outputs, self.inputs = padded.shape
        self.tiles = torch.empty_like(padded)
        pack = library().guerdon_pack_weight
        pack(
            *(ctypes.c_void_p(x.data_ptr()) for x in (padded, self.tiles)), *map(ctypes.c_int64, padded.shape)
        )
        self.bias = torch.zeros(self.outputs)
        if bias is not None:
            self.bias[: len(bias)] = bias.data

    @staticmethod
    def of(linear: nn.Linear) -> "TiledWeight":
        """A linear layer's."""
        return TiledWeight(linear.weight.data, linear.bias)

    @staticmethod
    def gated(gate: nn.Linear, up: nn.Linear) -> "TiledWeight":
        """Of two layers: half of a block's outputs are gates, half what they let through."""
        bias = None if gate.bias is None else _by_halves(gate.bias.data, up.bias.data)
        return TiledWeight(_by_halves(gate.weight.data, up.weight.data), bias)


def _by_halves(*both: Tensor) -> Tensor:
    """[2n, ...] of two [n, ...]: half a block of the first, half a block of the second, and so on."""
    half = BLOCK // 2
    padded = [pad(x, (0, 0) * (x.dim() - 1) + (0, -len(x) % half)) for x in both]
    return torch.stack([x.unflatten(0, (-1, half)) for x in padded], dim=1).flatten(0, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Multiply:
    """Products of `source` with a weight; `after` may add `other`."""

    weight: TiledWeight
    source: str
    to: str
    after: After = "none"
    other: str | None = None

    @property
    def columns(self) -> int:
        """Of what it writes: gates leave half of the outputs."""
        return self.weight.outputs // (2 if self.after in get_args(GateActivation) else 1)


@dataclass(frozen=True, slots=True, eq=False)
class Norm:
    """A norm of `count` parts of `source` from column `begin` on, `other` added.

    With a bias it is a layer norm, without a root-mean-square norm.

    weight, bias: fp32 [size of a part].
    """

    weight: Tensor
    bias: Tensor | None
    epsilon: float
    source: str
    to: str
    other: str | None = None
    begin: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class Rotate:
    """A rotary embedding, in place, of the first `count` heads of `to` by angles ``cos`` and ``sin``."""

    to: str
    count: int
    head_dim: int


Step = Multiply | Norm | Rotate


class RowSteps:
    """Steps that rows go through one after another.

    Rows are tensors by name; those that a call does not give are kept for a chunk of rows alone.

    Args:
        widths: columns of the rows that no step multiplies into.
    """

    def __init__(self, steps: Sequence[Step], widths: dict[str, int]) -> None:
        made = {s.to: s.columns for s in steps if isinstance(s, Multiply)}
        self._widths = {**made, **widths}
        self._steps = tuple(steps)  # what the addresses below point to
        names = list(self._widths)
        self._code = (_Step * len(steps))(*(_coded(step, names) for step in steps))

    def __call__(self, **given: Tensor) -> None:
        """Fill those of the given rows [T, columns] that steps write."""
        num_rows = len(next(iter(given.values())))
        for name, rows in given.items():
            assert rows.dtype == torch.bfloat16 and rows.is_contiguous(), name
            assert rows.shape == (num_rows, self._widths[name]), name
        rows_of = (_Given * len(self._widths))()
        for of, (name, columns) in zip(rows_of, self._widths.items(), strict=True):
            of.columns = of.row = columns
            of.first, of.chunk = given[name].data_ptr() if name in given else None, BLOCK
        sizes = [ctypes.c_int64(n) for n in (len(self._code), len(rows_of))]

        def run(begin: int, end: int) -> None:
            bounds = (ctypes.c_int64(begin * BLOCK), ctypes.c_int64(min(end * BLOCK, num_rows)))
            if library().guerdon_take(self._code, sizes[0], rows_of, sizes[1], *bounds):
                raise MemoryError("no memory for a chunk of rows")

        in_parts(-(-num_rows // BLOCK), run)


_MULTIPLY, _NORM, _ROTATE = range(3)
"""Kinds of steps in rows.c."""


class _Given(ctypes.Structure):
    _fields_ = (("first", ctypes.c_void_p), *((name, ctypes.c_int64) for name in ("row", "chunk", "columns")))


class _Step(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("kind", "source", "to", "other", "more")),
        *((name, ctypes.c_void_p) for name in ("tiles", "weight", "bias")),
        *((name, ctypes.c_int64) for name in ("inputs", "outputs", "after", "begin", "size", "count")),
        ("epsilon", ctypes.c_double),
    )


def _coded(step: Step, names: list[str]) -> _Step:
    def place(name: str | None) -> int:
        return -1 if name is None else names.index(name)

    if isinstance(step, Rotate):
        return _Step(
            _ROTATE, -1, place(step.to), place("cos"), place("sin"), size=step.head_dim, count=step.count
        )
    kind = _MULTIPLY if isinstance(step, Multiply) else _NORM
    code = _Step(kind, place(step.source), place(step.to), place(step.other))
    if isinstance(step, Multiply):
        weight = step.weight
        code.tiles, code.bias = weight.tiles.data_ptr(), weight.bias.data_ptr()
        code.inputs, code.outputs = weight.inputs, weight.outputs
        code.after = get_args(After).index(step.after)
    else:
        code.weight = step.weight.data_ptr()
        code.bias = None if step.bias is None else step.bias.data_ptr()
        code.begin, code.size, code.count = step.begin, len(step.weight), step.count
        code.epsilon = step.epsilon
    return code
