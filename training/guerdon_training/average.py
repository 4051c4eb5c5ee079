"""Average of the weights along a run: one model that behaves like an ensemble of its late stages."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from guerdon_training.sharded import part_as, whole


class MovingAverage:
    """Exponential moving average of `parameters` (Polyak and Juditsky, 1992; Izmailov et al., 1803.05407).

    Args:
        decay: per update; it warms up as ``min(decay, (1 + t) / (10 + t))``, so that early weights fade.
    """

    def __init__(self, parameters: Sequence[Tensor], decay: float) -> None:
        self._parameters = parameters
        self._average = [p.detach().clone() for p in parameters]
        self._decay = decay
        self._updates = 0

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are now."""
        self._updates += 1
        decay = min(self._decay, (1 + self._updates) / (10 + self._updates))
        for average, parameter in zip(self._average, self._parameters, strict=True):
            average.lerp_(parameter, 1.0 - decay)

    def state(self, *, kept: bool = True) -> dict[str, Any]:
        """For a checkpoint; a collective operation where parameters are sharded, see `whole_on_cpu`."""
        average = [value for value in map(whole, self._average) if kept]
        return {"average": average, "updates": self._updates}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._average = [
            part_as(p, value) for p, value in zip(self._parameters, state["average"], strict=True)
        ]
        self._updates = int(state["updates"])

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the parameters and their average; a second call undoes it."""
        for average, parameter in zip(self._average, self._parameters, strict=True):
            kept = parameter.detach().clone()
            parameter.copy_(average)
            average.copy_(kept)
