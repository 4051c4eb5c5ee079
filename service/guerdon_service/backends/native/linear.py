"""Linear layers in bf16 on AMX, of any size: rows are padded to whole tiles where they are not."""

from typing import Literal

from torch import Tensor, nn
from torch.nn.functional import pad

from guerdon_service.backends.native.rows import RowSteps
from guerdon_service.backends.native.steps import After, GateActivation, Multiply
from guerdon_service.backends.native.weight import TiledWeight


class TiledLinear(nn.Module):
    """What `linear`, in bf16, computes, then the exact GELU if asked: [..., in] to [..., out]."""

    def __init__(self, linear: nn.Linear, *, after: Literal["none", "gelu"] = "none") -> None:
        super().__init__()
        weight = TiledWeight.of(linear)
        self._outputs = linear.weight.shape[0]
        self._plain = _Product(weight, after)
        self._plus = _Product(weight, "plus")

    def forward(self, rows: Tensor) -> Tensor:
        """The layer's outputs."""
        return self._plain(rows)[..., : self._outputs]

    def plus(self, rows: Tensor, residual: Tensor) -> Tensor:
        """The outputs of a layer without activation, with `residual` [..., out] added."""
        return self._plus(rows, residual)[..., : self._outputs]


class TiledGate(nn.Module):
    """``activation(gate(x)) * up(x)`` of two layers in bf16: [..., in] to [..., out]."""

    def __init__(self, gate: nn.Linear, up: nn.Linear, activation: GateActivation) -> None:
        super().__init__()
        self._outputs = gate.weight.shape[0]
        self._gated = _Product(TiledWeight.gated(gate, up), activation)

    def forward(self, rows: Tensor) -> Tensor:
        """What the gates let through."""
        return self._gated(rows)[..., : self._outputs]


class _Product:
    def __init__(self, weight: TiledWeight, after: After) -> None:
        step = Multiply(weight, "rows", "out", after, "other" if after == "plus" else None)
        self._widths = {"rows": weight.inputs} | ({"other": weight.outputs} if after == "plus" else {})
        self._steps = RowSteps([step], self._widths)
        self._columns = step.columns

    def __call__(self, rows: Tensor, *other: Tensor) -> Tensor:
        given = {
            name: _padded(x.flatten(0, -2), width)
            for (name, width), x in zip(self._widths.items(), (rows, *other), strict=True)
        }
        out = rows.new_empty(*rows.shape[:-1], self._columns)
        self._steps(out=out.flatten(0, -2), **given)
        return out


def _padded(rows: Tensor, columns: int) -> Tensor:
    """[T, n] with zeros to so many columns, side by side in memory."""
    return pad(rows, (0, columns - rows.shape[1])).contiguous()
