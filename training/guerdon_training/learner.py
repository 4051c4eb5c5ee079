"""What a reward run computes in a step: outputs, objective, gradient; and on held-out rows, log losses."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.statistics.calibration_fit import calibrated_log_loss
from guerdon_training.config import RewardConfig
from guerdon_training.distributed import shares
from guerdon_training.forward import by_budget
from guerdon_training.head_layout import HeadLayout, head_layout
from guerdon_training.objective import Objective, build_objective
from guerdon_training.rows import Rows
from guerdon_training.steps import MicroBatch
from guerdon_training.trunk import SplitEncoder


@dataclass(frozen=True, slots=True)
class Learner:
    """Gradients of a step, and the loss on held-out rows, of one model.

    lengths: float [R], of the train rows' responses, in units of `unit` tokens: the root mean square of the
        differences within their comparisons.
    accelerator: knows the processes that share each step.
    """

    encoder: SplitEncoder
    layout: HeadLayout
    objective: Objective
    lengths: Tensor
    unit: float
    accelerator: Accelerator

    def backward(self, states: Sequence[Any], step: Sequence[MicroBatch]) -> float:
        """Accumulate gradients whose mean over the processes is that of the step's mean loss; give the loss.

        Args:
            states: of every train row, as `SplitEncoder.lower` gave them.

        Raises:
            GuerdonError: the loss is not finite.
        """
        num_units = sum(self.objective.num_units(batch.comparisons) for batch in step)
        heads = torch.tensor([c.head for batch in step for c in batch.comparisons])
        counts = torch.bincount(heads, minlength=self.layout.num_attributes)
        total = 0.0
        processes = self.accelerator.num_processes
        share = list(shares(step, self.accelerator.process_index, processes))
        whole = self._length_products(states, share) if self.objective.length_penalty else None
        for batch, weight in share:
            rewards = self._rewards(states, batch)
            if whole is None:
                loss = self.objective.loss(rewards, batch.comparisons) / num_units
            else:
                lengths = self.lengths[list(batch.rows)]
                fitted = self.objective.fitted(rewards, lengths)
                part = self.objective.length_products(rewards, lengths, batch.comparisons)
                loss = self.objective.loss(fitted, batch.comparisons) / num_units
                loss = loss + self.objective.penalty(part, whole, counts) / len(heads)
            (loss * (weight * processes)).backward()
            total += weight * float(loss.detach())
        total = float(self.accelerator.reduce(torch.tensor(total, dtype=torch.float64), "sum"))
        if not isfinite(total):
            raise GuerdonError(
                f"the loss is {total}; lower optim.learning_rate. The checkpoint of the last whole epoch is "
                "intact",
                param="optim.learning_rate",
            )
        return total

    def _rewards(self, states: Sequence[Any], batch: MicroBatch) -> Tensor:
        return self.layout.rewards(self.encoder.upper([states[row] for row in batch.rows]))

    @torch.no_grad()
    def _length_products(self, states: Sequence[Any], share: Sequence[tuple[MicroBatch, float]]) -> Tensor:
        """`Objective.length_products` of a whole step, of which this process has a share: float [A, M]."""
        parts = [
            weight
            * self.objective.length_products(
                self._rewards(states, batch), self.lengths[list(batch.rows)], batch.comparisons
            )
            for batch, weight in share
        ]
        whole: Tensor = self.accelerator.reduce(torch.stack(parts).sum(0), "sum")
        return whole

    @torch.no_grad()
    def log_losses(self, states: Sequence[Any], rows: Rows, max_batch_tokens: int) -> list[float]:
        """Calibrated log loss of each head on its own comparisons, against their labels, in nats.

        Raises:
            GuerdonError: a score is not finite: training has destroyed the weights.
        """
        widths, lengths = [len(s) for s in states], _num_tokens(rows) / self.unit
        order = sorted(range(len(states)), key=widths.__getitem__)
        outputs: dict[int, Tensor] = {}
        for batch in by_budget(widths, order, max_batch_tokens):
            rewards = self.layout.rewards(self.encoder.upper([states[i] for i in batch]))
            fitted = self.objective.fitted(rewards, lengths[batch]).mean(-1)
            outputs.update(zip(batch, fitted, strict=True))
        if not bool(torch.stack(list(outputs.values())).isfinite().all()):
            raise GuerdonError(
                "the scores of the valid pairs are not finite; lower optim.learning_rate. The last "
                "checkpoint is intact",
                param="optim.learning_rate",
            )
        found: dict[int, list[tuple[float, float]]] = {}
        for c in rows.comparisons:
            margin = outputs[c.chosen][c.head] - outputs[c.rejected][c.head]
            found.setdefault(c.head, []).append((float(margin), c.target.label))
        return [calibrated_log_loss(*np.array(found[head]).T) for head in sorted(found)]


def build_learner(
    encoder: SplitEncoder, train: Rows, config: RewardConfig, accelerator: Accelerator
) -> Learner:
    """The learner of the model whose upper layers `encoder` runs, on the rows `train`."""
    layout = head_layout(config)
    objective = build_objective(
        config.objective.kind,
        config.optim.centring,
        config.length.penalty,
        layout.num_attributes,
        1 + max(c.group for c in train.comparisons),
        layout.members,
        config.seed,
    )
    num_tokens = _num_tokens(train)
    differences = [num_tokens[c.chosen] - num_tokens[c.rejected] for c in train.comparisons]
    unit = max(1.0, float(torch.stack(differences).square().mean().sqrt()))
    return Learner(encoder, layout, objective, num_tokens / unit, unit, accelerator)


def _num_tokens(rows: Rows) -> Tensor:
    """Of the responses: float [R]."""
    return torch.tensor([float(len(t.input_ids) - t.prefix_len) for t in rows.tokens])
