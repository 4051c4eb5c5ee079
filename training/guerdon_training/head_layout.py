"""Which output of the model in training is what."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from guerdon_training.config import RewardConfig


@dataclass(frozen=True, slots=True)
class HeadLayout:
    """Outputs by attribute, its members side by side, then one length output for each attribute.

    num_attributes: A. members: M, outputs for each attribute.
    with_length: whether the A length outputs are there; they are never served.
    """

    num_attributes: int
    members: int = 1
    with_length: bool = False

    @property
    def num_served(self) -> int:
        """A M."""
        return self.num_attributes * self.members

    @property
    def num_outputs(self) -> int:
        """Outputs in training."""
        return self.num_served + (self.num_attributes if self.with_length else 0)

    def rewards(self, outputs: Tensor) -> Tensor:
        """What is served: ``[..., num_outputs]`` to ``[..., A, M]``."""
        served = outputs[..., : self.num_served]
        rewards: Tensor = served.unflatten(-1, (self.num_attributes, self.members))
        return rewards

    def lengths(self, outputs: Tensor) -> Tensor:
        """The length outputs: ``[..., num_outputs]`` to ``[..., A]``."""
        return outputs[..., self.num_served :]

    def attributes(self, outputs: Tensor) -> Tensor:
        """What training fits to the labels: ``[..., num_outputs]`` to ``[..., A]``.

        The mean of each attribute's members, and its length output.
        """
        rewards = self.rewards(outputs).mean(-1)
        return rewards + self.lengths(outputs) if self.with_length else rewards

    def served(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """A model's trained parameters without the length outputs' rows."""
        return {
            name: value[: self.num_served] if is_head(name) and len(value) == self.num_outputs else value
            for name, value in state.items()
        }


def head_layout(config: RewardConfig) -> HeadLayout:
    """The outputs that a config asks for."""
    return HeadLayout(len(config.heads), config.ensemble.heads, config.length.enabled)


def is_head(name: str) -> bool:
    """Whether a parameter belongs to a classifier's head."""
    return "classifier" in name.split(".")
