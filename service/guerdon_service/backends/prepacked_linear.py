"""A linear layer whose weight lies as the CPU's matrix kernels read it: packed once, not on each call.

oneDNN packs a weight before it multiplies. Done ahead, a product takes 0.85 to 0.9 of the CPU time on AVX-512
in fp32 and bf16, and what follows it, a bias and an activation, is done on results still in registers. The
operators are those that `torch.compile` puts in the place of `nn.Linear` on CPUs
(`torch/_inductor/mkldnn_ir.py`). A row's bits depend on no other row, nor on the number of threads, but in
bf16 on AMX: there `native.linear` takes their place.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from guerdon_service.backends.native.library import takes_tiles
from guerdon_service.backends.native.linear import TiledGate, TiledLinear
from guerdon_service.backends.native.steps import GateActivation

TYPICAL_ROWS = 1024
"""Rows that the layout is chosen for; others are right as well."""

Activation = Literal["none", "gelu", GateActivation]

_ATTRIBUTES: dict[Activation, tuple[str, list[None], str]] = {
    "none": ("none", [], ""),
    "gelu": ("gelu", [], "none"),
    "gelu_tanh": ("gelu", [], "tanh"),
    "silu": ("swish", [], ""),
}


class PrepackedLinear(nn.Module):
    """What `linear` computes, then the activation: [..., in] to [..., out] in its weight's dtype."""

    def __init__(self, linear: nn.Linear, *, after: Activation = "none") -> None:
        super().__init__()
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.data, TYPICAL_ROWS)
        self._bias = None if linear.bias is None else linear.bias.data
        self._after = _ATTRIBUTES[after]

    def forward(self, rows: Tensor) -> Tensor:
        """The layer's outputs."""
        return torch.ops.mkldnn._linear_pointwise(rows, self._weight, self._bias, *self._after)  # type: ignore[no-any-return]

    def plus(self, rows: Tensor, residual: Tensor) -> Tensor:
        """The outputs of a layer without activation, with `residual` [..., out] added.

        In oneDNN's product it takes longer than after it.
        """
        return self(rows).add_(residual)  # type: ignore[no-any-return]


class PrepackedGate(nn.Module):
    """``activation(gate(x)) * up(x)``: [..., in] to [..., out]."""

    def __init__(self, gate: nn.Linear, up: nn.Linear, activation: GateActivation) -> None:
        super().__init__()
        self._gate, self._up = PrepackedLinear(gate, after=activation), PrepackedLinear(up)

    def forward(self, rows: Tensor) -> Tensor:
        """What the gates let through."""
        return self._up(rows).mul_(self._gate(rows))  # type: ignore[no-any-return]


def linear_of(linear: nn.Linear, *, after: Literal["none", "gelu"] = "none") -> PrepackedLinear | TiledLinear:
    """What `linear` computes, as this machine is quick at it."""
    return (
        TiledLinear(linear, after=after)
        if takes_tiles(linear.weight)
        else PrepackedLinear(linear, after=after)
    )


def gate_of(gate: nn.Linear, up: nn.Linear, activation: GateActivation) -> PrepackedGate | TiledGate:
    """``activation(gate(x)) * up(x)``, as this machine is quick at it."""
    return (
        TiledGate(gate, up, activation) if takes_tiles(gate.weight) else PrepackedGate(gate, up, activation)
    )


def joined(layers: Sequence[nn.Linear]) -> nn.Linear:
    """One layer with the outputs of all, one after another."""
    weight = torch.cat([layer.weight.data for layer in layers])
    joined = nn.Linear(weight.shape[1], weight.shape[0], bias=layers[0].bias is not None, device="meta")
    joined.weight = nn.Parameter(weight, requires_grad=False)
    if layers[0].bias is not None:
        joined.bias = nn.Parameter(torch.cat([layer.bias.data for layer in layers]), requires_grad=False)
    return joined
