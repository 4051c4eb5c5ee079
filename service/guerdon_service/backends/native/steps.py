"""What rows go through one after another, as `rows.RowSteps` takes it."""

from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from guerdon_service.backends.native.weight import BLOCK, TiledWeight

GateActivation = Literal["silu", "gelu_tanh"]
After = Literal["none", "gelu", "plus", GateActivation, "gelu_uint8"]
"""What follows a product, in the order of multiply.h."""

ZERO = 128
"""What stands for 0 where `Quantise` writes."""

_PAIR = 2
"""uint8 that stand in a bf16's place."""


@dataclass(frozen=True, slots=True, eq=False)
class Multiply:
    """Products of `source` with a weight; `after` may add `other`.

    A weight of int8 takes what `Quantise` writes, or another such product with the GELU in uint8: units of
    `out_scale` from `out_zero` on.
    """

    weight: TiledWeight
    source: str
    to: str
    after: After = "none"
    other: str | None = None
    out_scale: float = 1.0
    out_zero: int = 0

    @property
    def columns(self) -> int:
        """Of what it writes: gates leave half of the outputs, and of bytes two stand in a place."""
        is_half = self.after in (*get_args(GateActivation), "gelu_uint8")
        return self.weight.outputs // (2 if is_half else 1)


@dataclass(frozen=True, slots=True, eq=False)
class Quantise:
    """`source` to uint8 around `ZERO`: times `factor`, plus `offset` (fp32 [in]; None: as it is), 1 to 255.

    again: int32, columns that come once more after the last.
    """

    source: str
    to: str
    size: int
    factor: Tensor | None = None
    offset: Tensor | None = None
    again: Tensor | None = None

    @property
    def columns(self) -> int:
        """Of what it writes, in places, up to whole tiles."""
        num = self.size + (0 if self.again is None else len(self.again))
        return -(-num // (_PAIR * BLOCK)) * BLOCK


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


Step = Multiply | Norm | Rotate | Quantise
