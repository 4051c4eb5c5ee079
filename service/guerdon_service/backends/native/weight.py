"""Weights as the kernels read them: tiles of bf16, or of int8, two to a bf16's place."""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from guerdon_service.backends.native.library import library

BLOCK = 32
"""Rows and outputs that are multiplied together; inputs in bf16 and outputs are a multiple of it."""


@dataclass(frozen=True, slots=True, eq=False)
class TiledWeight:
    """A weight [outputs, inputs] and a bias, padded with zeros to whole tiles.

    Args:
        tiles: bf16 [outputs, inputs] in the kernels' order; of int8 two are one input.
        bias: fp32 [outputs].
        scales: fp32 [outputs], of sums of int8; None: the weight is bf16.
    """

    tiles: Tensor
    bias: Tensor
    scales: Tensor | None = None

    @property
    def outputs(self) -> int:
        """Padded."""
        return self.tiles.shape[0]

    @property
    def inputs(self) -> int:
        """Padded; pairs of them for int8."""
        return self.tiles.shape[1]

    @staticmethod
    def of(linear: nn.Linear) -> "TiledWeight":
        """A linear layer's, in bf16."""
        return TiledWeight.bf16(linear.weight.data, linear.bias)

    @staticmethod
    def bf16(weight: Tensor, bias: Tensor | None = None) -> "TiledWeight":
        """[out, in] and [out], the weight rounded to bf16 where it is not."""
        return TiledWeight(_tiled(weight.bfloat16()), _long(bias, len(weight)))

    @staticmethod
    def gated(gate: nn.Linear, up: nn.Linear) -> "TiledWeight":
        """Of two layers in bf16: half of a block's outputs are gates, half what they let through."""
        weight = _by_halves(gate.weight.data, up.weight.data)
        bias = None if gate.bias is None else _by_halves(gate.bias.data, up.bias.data)
        return TiledWeight.bf16(weight, bias)

    @staticmethod
    def int8(values: Tensor, scales: Tensor, bias: Tensor) -> "TiledWeight":
        """For uint8 rows: int8 [out, in], what sums are multiplied by, and what is added, fp32 [out]."""
        pairs = pad(values, (0, values.shape[1] % 2)).contiguous().view(torch.bfloat16)
        outputs = len(values)
        return TiledWeight(_tiled(pairs), _long(bias, outputs), _long(scales, outputs))


def _by_halves(*both: Tensor) -> Tensor:
    """[2n, ...] of two [n, ...]: half a block of the first, half a block of the second, and so on."""
    half = BLOCK // 2
    padded = [pad(x, (0, 0) * (x.dim() - 1) + (0, -len(x) % half)) for x in both]
    return torch.stack([x.unflatten(0, (-1, half)) for x in padded], dim=1).flatten(0, 2)


def _tiled(weight: Tensor) -> Tensor:
    padded = pad(weight, (0, -weight.shape[1] % BLOCK, 0, -weight.shape[0] % BLOCK)).contiguous()
    tiles = torch.empty_like(padded)
    addresses = (ctypes.c_void_p(x.data_ptr()) for x in (padded, tiles))
    library().guerdon_pack_weight(*addresses, *map(ctypes.c_int64, padded.shape))
    return tiles


def _long(values: Tensor | None, size: int) -> Tensor:
    """fp32, with zeros up to whole blocks; all zeros for None."""
    answer = torch.zeros(size + -size % BLOCK)
    if values is not None:
        answer[: len(values)] = values.data
    return answer
