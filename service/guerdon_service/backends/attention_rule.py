"""How a layer attends."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """Scale, direction, reach and cap of a layer's logits.

    scale: of logits.
    window: the first distance out of sight, or None.
    softcap: logits x become ``softcap * tanh(x / softcap)`` (arXiv:2408.00118), or None.
    """

    scale: float
    causal: bool
    window: int | None
    softcap: float | None
