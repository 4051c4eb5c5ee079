"""The objective of a reward run: from a batch's head outputs to one loss."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from guerdon_training.losses import bradley_terry, centring, davidson, length_covariance, plackett_luce
from guerdon_training.rankings import rankings
from guerdon_training.rows import Comparison


@dataclass(frozen=True, slots=True)
class Objective:
    """A likelihood of comparisons, with the penalties on rewards.

    kind: see `objective_config.ObjectiveConfig`.
    centring: weight of the penalty.
    length_penalty: weight of the penalty on quality that follows the length; 0 has no length head.
    log_nu: float [A], logarithm of Davidson's nu for each attribute, learned with the model.
    slope: float [A], the length head of each attribute, in nats per unit of length, learned with the model.
    bags: float [G, M], how often each ensemble member draws each group of comparisons; None draws each once.
    """

    kind: str
    centring: float
    length_penalty: float
    log_nu: Tensor
    slope: Tensor
    bags: Tensor | None = None

    @property
    def parameters(self) -> list[Tensor]:
        """What it learns itself."""
        return [value for value in (self.log_nu, self.slope) if value.requires_grad]

    def num_units(self, comparisons: Sequence[Comparison]) -> float:
        """What a mean divides by: pairs, prompts or rankings, as the kind has it."""
        if self.kind == "plackett_luce":
            return len(rankings(comparisons))
        return sum(_weights(self.kind, comparisons))

    def fitted(self, rewards: Tensor, lengths: Tensor) -> Tensor:
        """Quality with its length head, which is what the labels are fitted to: float [R, A, M].

        Args:
            rewards: float [R, A, M], quality. lengths: float [R], of the responses.
        """
        return rewards + (lengths.unsqueeze(1) * self.slope).unsqueeze(2)

    def length_products(self, rewards: Tensor, lengths: Tensor, comparisons: Sequence[Comparison]) -> Tensor:
        """Difference of the rewards times that of the lengths, summed over each attribute's comparisons:
        float [A, M]. Arguments as in `fitted`.
        """
        heads = [c.head for c in comparisons]
        chosen, rejected = [c.chosen for c in comparisons], [c.rejected for c in comparisons]
        differences = rewards[chosen, heads] - rewards[rejected, heads]
        products = differences * (lengths[chosen] - lengths[rejected]).unsqueeze(1)
        return rewards.new_zeros(rewards.shape[1:]).index_add(0, torch.tensor(heads), products)

    def penalty(self, part: Tensor, whole: Tensor, counts: Tensor) -> Tensor:
        """A batch's part of a step's weighted length penalty, summed over comparisons (each attribute's as
        often as it has some) and averaged over members: a scalar.

        Args:
            part, whole: `length_products` of the batch, and of the step. counts: int64 [A], the step's
                comparisons of each attribute.
        """
        found = length_covariance(part, whole, counts.clamp(min=1).unsqueeze(1))
        return self.length_penalty * found.mean(1).sum()

    def loss(self, rewards: Tensor, comparisons: Sequence[Comparison]) -> Tensor:
        """Loss summed over units and averaged over members: a scalar, in nats.

        Args:
            rewards: float [R, A, M] of rows, attributes and members. comparisons: between these rows, every
                group whole.
        """
        if self.kind == "plackett_luce":
            return self._ranking_loss(rewards, comparisons)
        heads = [c.head for c in comparisons]
        chosen = rewards[[c.chosen for c in comparisons], heads]
        rejected = rewards[[c.rejected for c in comparisons], heads]
        losses = self._pair_losses(chosen, rejected, comparisons)
        losses = losses + self.centring * centring(chosen, rejected)
        weights = rewards.new_tensor(_weights(self.kind, comparisons)).unsqueeze(1)
        return (losses * weights * self._drawn(comparisons)).sum() / rewards.shape[2]

    def _pair_losses(self, chosen: Tensor, rejected: Tensor, comparisons: Sequence[Comparison]) -> Tensor:
        """float [P, M]."""
        label = chosen.new_tensor([c.target.label for c in comparisons]).unsqueeze(1)
        if self.kind == "davidson":
            tie = chosen.new_tensor([c.target.tie for c in comparisons]).unsqueeze(1)
            log_nu = self.log_nu[[c.head for c in comparisons]].unsqueeze(1)
            return davidson(chosen, rejected, label, tie, log_nu)
        margin = chosen.new_tensor([c.target.margin for c in comparisons]).unsqueeze(1)
        return bradley_terry(chosen, rejected, label, margin)

    def _ranking_loss(self, rewards: Tensor, comparisons: Sequence[Comparison]) -> Tensor:
        total = rewards.new_zeros(())
        for ranking in rankings(comparisons):
            own = rewards[list(ranking.rows), ranking.head]
            mean = own.mean(0)
            losses = plackett_luce(own, torch.tensor(ranking.ranks)) + self.centring * centring(mean, mean)
            drawn = 1.0 if self.bags is None else self.bags[ranking.group]
            total = total + (losses * drawn).sum()
        return total / rewards.shape[2]

    def _drawn(self, comparisons: Sequence[Comparison]) -> Tensor | float:
        return 1.0 if self.bags is None else self.bags[[c.group for c in comparisons]]


def build_objective(
    kind: str,
    centring_weight: float,
    length_penalty: float,
    num_attributes: int,
    num_groups: int,
    members: int,
    seed: int,
) -> Objective:
    """The objective of a run. Several members draw each group Poisson(1) times: the bootstrap of online
    bagging (Oza and Russell, 2001), repeatable by `seed`.

    nu starts at 1, where two equal responses tie every third time; the slope of the length at 0.
    """
    log_nu = torch.zeros(num_attributes, requires_grad=kind == "davidson")
    slope = torch.zeros(num_attributes, requires_grad=length_penalty > 0)
    generator = torch.Generator().manual_seed(seed)
    bags = torch.poisson(torch.ones(num_groups, members), generator=generator) if members > 1 else None
    return Objective(kind, centring_weight, length_penalty, log_nu, slope, bags)


def _weights(kind: str, comparisons: Sequence[Comparison]) -> list[float]:
    """1 for each pair, or 1 over the pairs of its group."""
    if kind != "k_wise":
        return [1.0] * len(comparisons)
    sizes = Counter(c.group for c in comparisons)
    return [1.0 / sizes[c.group] for c in comparisons]
