"""Linear layers in int8 on CPU: uint8 rows with one constant scale, int8 weights with one for each output.

The operators are those that `torch.compile` puts in the place of quantised linear layers
(`torch/_inductor/fx_passes/quantization.py`): bias, exact GELU, residual and scaling are done on results
still in registers. Integer sums are exact, so a row's bits depend on no other row, nor on the number of
threads.
"""

from typing import Any

import torch
from torch import Tensor

from guerdon_service.backends.prepacked_linear import TYPICAL_ROWS

_WEIGHT_LIMIT = 127
_BLOCK = 256
"""Rows that are quantised at a time: from step to step they stay in a core's cache (half the time)."""


def zero_point() -> int:
    """What stands for 0: rows lie in ``1 .. 2 * zero_point - 1``.

    Without VNNI, oneDNN adds two products in 16 bits: they hold 127 * 127 twice, not 255 * 127.
    """
    return 128 if torch.cpu._is_vnni_supported() else 64


def quantised(rows: Tensor, inverse: Tensor | None = None, offset: Tensor | None = None) -> Tensor:
    """uint8 [T, in] of rows fp32 or bf16 [T, in], times `inverse` [in], plus `offset` [in].

    What is out of range is clipped. int8 first: torch has no vector code from fp32 to uint8 (7 times slower).
    """
    zero = zero_point()
    answer = torch.empty(rows.shape, dtype=torch.int8)
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        scaled = block.float() if inverse is None else block * inverse
        if offset is not None:
            scaled.add_(offset)
        answer[start : start + _BLOCK] = scaled.round().clamp_(1 - zero, zero - 1)
    return answer.view(torch.uint8).add_(zero)


def narrowed(weight: Tensor) -> tuple[Tensor, Tensor]:
    """int8 [out, in] and fp32 [out]: a weight's values, and what each output's are multiplied by."""
    scales = (weight.abs().amax(1) / _WEIGHT_LIMIT).clamp_min(torch.finfo(torch.float32).tiny)
    return (weight / scales[:, None]).round_().to(torch.int8), scales


class Int8Linear:
    """``(rows - zero) * scale @ weight.T + bias`` for uint8 rows [T, in].

    Args:
        weight: fp32 [out, in]; `bias`: fp32 [out].
        scale: of the rows; `zero`: None takes `zero_point`.
    """

    def __init__(self, weight: Tensor, bias: Tensor, scale: float = 1.0, zero: int | None = None) -> None:
        values, scales = narrowed(weight)
        packed = torch.ops.onednn.qlinear_prepack(values, [TYPICAL_ROWS, weight.shape[1]])
        zeros = torch.zeros(len(scales), dtype=torch.int32)
        self._rows = (scale, zero_point() if zero is None else zero)
        self._weight = (packed, scales, zeros)
        self._bias = bias

    def __call__(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """[T, out] in `dtype`."""
        return self._pointwise(rows, 1.0, 0, dtype, "none")

    def gelu(self, rows: Tensor, scale: float, zero: int) -> Tensor:
        """uint8 [T, out], the exact GELU of the outputs, in units of `scale` from `zero`."""
        return self._pointwise(rows, scale, zero, torch.uint8, "gelu")

    def plus(self, rows: Tensor, residual: Tensor) -> Tensor:
        """fp32 [T, out], `residual` added."""
        plain: tuple[Any, ...] = (1.0, 0, torch.float32, 1.0, 0, "add", 1.0, "none", [], "")
        answer: Tensor = torch.ops.onednn.qlinear_pointwise.binary(
            rows, *self._rows, *self._weight, residual, self._bias, *plain
        )
        return answer

    def _pointwise(self, rows: Tensor, *output: Any) -> Tensor:
        answer: Tensor = torch.ops.onednn.qlinear_pointwise(
            rows, *self._rows, *self._weight, self._bias, *output, [], "none"
        )
        return answer
