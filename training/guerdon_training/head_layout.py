"""Which output of the model is what."""

from dataclasses import dataclass

from torch import Tensor

from guerdon_training.config import RewardConfig


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """Outputs by attribute, its members side by side.

    num_attributes: A. members: M, outputs for each attribute.
    """

    num_attributes: int
    members: int = 1

    @property
    def num_outputs(self) -> int:
        """A M."""
        return self.num_attributes * self.members

    def rewards(self, outputs: Tensor) -> Tensor:
        """``[..., A M]`` to ``[..., A, M]``."""
        rewards: Tensor = outputs.unflatten(-1, (self.num_attributes, self.members))
        return rewards


def head_layout(config: RewardConfig) -> HeadLayout:
    """The outputs that a config asks for."""
    return HeadLayout(len(config.heads), config.ensemble.heads)
