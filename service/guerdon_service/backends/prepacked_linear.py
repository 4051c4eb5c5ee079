"""A linear layer whose weight lies as the CPU's matrix kernels read it: packed once, not on each call.

oneDNN packs a weight before it multiplies. Done ahead, a product takes 0.85 to 0.9 of the CPU time on AVX-512
in fp32 and bf16, and what follows it, a bias and an activation, is done on results still in registers. The
operators are those that `torch.compile` puts in the place of `nn.Linear` on CPUs
(`torch/_inductor/mkldnn_ir.py`). A row's bits depend on no other row, nor on the number of threads: where
oneDNN's would, rows are multiplied some at a time (`steady_rows`).
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from guerdon_service.backends import native_bf16
from guerdon_service.backends.steady_rows import is_unsteady, steady_rows
from guerdon_service.backends.threads import on_threads

TYPICAL_ROWS = 1024
"""Rows that the layout is chosen for; others are right as well."""

Activation = Literal["none", "gelu", "gelu_tanh", "silu"]

_ATTRIBUTES: dict[Activation, tuple[str, list[None], str]] = {
    "none": ("none", [], ""),
    "gelu": ("gelu", [], "none"),
    "gelu_tanh": ("gelu", [], "tanh"),
    "silu": ("swish", [], ""),
}


class PrepackedLinear(nn.Module):
    """What `linear` computes, then the activation: [..., in] to [..., out] in its weight's dtype.

    Args:
        most_rows: that it is given at a time; None: as many as a forward has.
    """

    def __init__(
        self, linear: nn.Linear, *, after: Activation = "none", most_rows: int | None = None
    ) -> None:
        super().__init__()
        weight = linear.weight.data
        threads = torch.get_num_threads()
        self._steady = steady_rows(*weight.shape, threads, most_rows) if is_unsteady(weight) else None
        layout_rows = self._steady.layout_rows if self._steady else TYPICAL_ROWS
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, layout_rows)
        self._bias = None if linear.bias is None else linear.bias.data
        self._after = _ATTRIBUTES[after]

    def forward(self, rows: Tensor) -> Tensor:
        """The layer's outputs."""
        return self._in_pieces(rows)

    def plus(self, rows: Tensor, residual: Tensor) -> Tensor:
        """The outputs of a layer without activation, with `residual` [..., out] added."""
        return self._in_pieces(rows, residual, "add")

    def times(self, rows: Tensor, factor: Tensor) -> Tensor:
        """The outputs of a layer without activation, multiplied by `factor` [..., out]."""
        return self._in_pieces(rows, factor, "mul")

    def _in_pieces(self, rows: Tensor, other: Tensor | None = None, by: str = "") -> Tensor:
        if self._steady is None:
            return self._product(rows, other, by)
        num_rows = rows.shape[-2]
        sizes = self._steady.pieces(num_rows)
        with on_threads(1 if self._steady.one_thread else torch.get_num_threads()):
            if sizes == (num_rows,):
                return self._product(rows, other, by)
            others = [None] * len(sizes) if other is None else _pieces(other, sizes)
            both = zip(_pieces(rows, sizes), others, strict=True)
            products = [self._product(piece, more, by) for piece, more in both]
        return torch.cat(products, -2)[..., :num_rows, :]

    def _product(self, rows: Tensor, other: Tensor | None = None, by: str = "") -> Tensor:
        linear = torch.ops.mkldnn._linear_pointwise
        if other is None:
            return linear(rows, self._weight, self._bias, *self._after)  # type: ignore[no-any-return]
        if native_bf16.has_amx():
            return linear.binary(rows, other, self._weight, self._bias, by)  # type: ignore[no-any-return]
        product = linear(rows, self._weight, self._bias, *self._after)  # in registers it takes longer there
        return product.add_(other) if by == "add" else product.mul_(other)  # type: ignore[no-any-return]


def _pieces(rows: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """The rows in pieces of these sizes, the last with zeros at its end."""
    *pieces, last = rows.split([*sizes[:-1], rows.shape[-2] - sum(sizes[:-1])], -2)
    return [*pieces, nn.functional.pad(last, (0, 0, 0, sizes[-1] - last.shape[-2]))]


def joined(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One layer with the outputs of all, one after another."""
    weight = torch.cat([layer.weight.data for layer in layers])
    joined = nn.Linear(weight.shape[1], weight.shape[0], bias=layers[0].bias is not None, device="meta")
    joined.weight = nn.Parameter(weight, requires_grad=False)
    if layers[0].bias is not None:
        joined.bias = nn.Parameter(torch.cat([layer.bias.data for layer in layers]), requires_grad=False)
    return joined
