"""What a reward run computes in a step: outputs, objective, gradient; and on held-out rows, log losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from guerdon_service.core.errors import GuerdonError
from guerdon_training.calibrate import calibrated_log_loss
from guerdon_training.config import RewardConfig
from guerdon_training.forward import by_budget
from guerdon_training.head_layout import HeadLayout, head_layout, is_head
from guerdon_training.length import length_penalty
from guerdon_training.objective import Objective, build_objective
from guerdon_training.rows import Rows
from guerdon_training.steps import MicroBatch
from guerdon_training.trunk import SplitEncoder


@dataclass(frozen=True, slots=True)
class Learner:
    """Gradients of a step, and the loss on held-out rows, of one model.

    num_tokens: float [R], of the train rows' responses. head: weights of the last layer, float [O, D].
    """

    encoder: SplitEncoder
    layout: HeadLayout
    objective: Objective
    config: RewardConfig
    num_tokens: Tensor
    head: Tensor

    def backward(self, states: Sequence[Any], step: Sequence[MicroBatch]) -> float:
        """Accumulate the gradient of the step's mean loss; give that loss.

        Args:
            states: of every train row, as `SplitEncoder.lower` gave them.

        Raises:
            GuerdonError: the loss is not finite.
        """
        num_units = sum(self.objective.num_units(batch.comparisons) for batch in step)
        num_pairs = sum(len(batch.comparisons) for batch in step)
        total = 0.0
        for batch in step:
            outputs = self.encoder.upper([states[row] for row in batch.rows])
            rewards = self.layout.rewards(outputs)
            if self.layout.with_length:
                lengths = self.layout.lengths(outputs)
                loss = self.objective.loss(rewards + lengths.unsqueeze(-1), batch.comparisons) / num_units
                loss = loss + self._penalty(rewards, lengths, batch) / num_pairs
            else:
                loss = self.objective.loss(rewards, batch.comparisons) / num_units
            loss.backward()
            total += float(loss.detach())
        if not isfinite(total):
            raise GuerdonError(
                f"the loss is {total}; lower optim.learning_rate. The checkpoint of the last whole epoch is "
                "intact",
                param="optim.learning_rate",
            )
        return total

    def _penalty(self, rewards: Tensor, lengths: Tensor, batch: MicroBatch) -> Tensor:
        quality = self.layout.rewards(self.head.T).permute(1, 2, 0)
        weights = (quality, self.layout.lengths(self.head.T).T)
        num_tokens = self.num_tokens[list(batch.rows)]
        return length_penalty(rewards, lengths, weights, batch.comparisons, num_tokens, self.config.length)

    @torch.inference_mode()
    def log_losses(self, states: Sequence[Any], rows: Rows, max_batch_tokens: int) -> list[float]:
        """Calibrated log loss of each head on its own comparisons, in nats."""
        lengths = [len(s) for s in states]
        order = sorted(range(len(states)), key=lengths.__getitem__)
        outputs: dict[int, Tensor] = {}
        for batch in by_budget(lengths, order, max_batch_tokens):
            found = self.layout.attributes(self.encoder.upper([states[i] for i in batch]))
            outputs.update(zip(batch, found, strict=True))
        margins: dict[int, list[float]] = {}
        for c in rows.comparisons:
            margin = outputs[c.chosen][c.head] - outputs[c.rejected][c.head]
            margins.setdefault(c.head, []).append(float(margin))
        return [calibrated_log_loss(np.array(margins[head])) for head in sorted(margins)]


def build_learner(model: nn.Module, encoder: SplitEncoder, train: Rows, config: RewardConfig) -> Learner:
    """The learner of `model`, whose upper layers `encoder` runs, on the rows `train`."""
    layout = head_layout(config)
    num_groups = 1 + max(c.group for c in train.comparisons)
    objective = build_objective(
        config.objective.kind,
        config.optim.centring,
        layout.num_attributes,
        num_groups,
        layout.members,
        config.seed,
    )
    num_tokens = torch.tensor([float(len(t.input_ids) - t.prefix_len) for t in train.tokens])
    head = [p for name, p in model.named_parameters() if p.requires_grad and is_head(name) and p.dim() == 2]
    return Learner(encoder, layout, objective, config, num_tokens, head[-1])
