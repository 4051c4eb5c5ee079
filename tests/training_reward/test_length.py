"""A planted shortcut: annotators prefer the longer answer, and a little the better one.

The trunk is stood in for by two features, a noisy view of the quality and the length: what training makes of
them is decided by the objective alone.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from guerdon_training.head_layout import HeadLayout
from guerdon_training.learner import Learner
from guerdon_training.objective import Objective, build_objective
from guerdon_training.rows import Comparison
from guerdon_training.steps import MicroBatch

NUM_PAIRS = 2000


def _answers(generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Quality and length [2 P], and features [2 P, 2]; rows 2i and 2i + 1 answer one prompt."""
    quality, length = torch.randn(2, 2 * NUM_PAIRS, generator=generator)
    seen = quality + 0.3 * torch.randn(2 * NUM_PAIRS, generator=generator)
    return quality, length, torch.stack([seen, length + 0.3 * seen], 1)


def _train(penalty: float) -> Tensor:
    """Weights [2] of the served quality."""
    generator = torch.Generator().manual_seed(0)
    quality, length, features = _answers(generator)
    score = 0.5 * quality + 1.5 * length
    first = torch.rand(NUM_PAIRS, generator=generator) < torch.sigmoid(score[::2] - score[1::2])
    rows = [(2 * i, 2 * i + 1) if first[i] else (2 * i + 1, 2 * i) for i in range(NUM_PAIRS)]
    comparisons = [Comparison(*pair, 0, group) for group, pair in enumerate(rows)]
    objective = build_objective("pairwise", 0.01, penalty, 1, NUM_PAIRS, 1, seed=0)
    weights = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([weights, *objective.parameters], lr=0.05)
    for _ in range(150):
        rewards = (features @ weights).view(-1, 1, 1)
        fitted = objective.fitted(rewards, length)
        loss = objective.loss(fitted, comparisons) + _penalty(objective, rewards, length, comparisons)
        optimizer.zero_grad()
        (loss / NUM_PAIRS).backward()
        optimizer.step()
    return weights.detach()


def _penalty(
    objective: Objective, rewards: Tensor, lengths: Tensor, comparisons: Sequence[Comparison]
) -> Tensor:
    """Of a step that is one batch."""
    part = objective.length_products(rewards, lengths, comparisons)
    counts = torch.bincount(torch.tensor([c.head for c in comparisons]), minlength=rewards.shape[1])
    return objective.penalty(part, part.detach(), counts)


def _measured(weights: Tensor) -> tuple[float, float]:
    """Correlation of reward and length differences, and accuracy where lengths are nearly the same."""
    quality, length, features = _answers(torch.Generator().manual_seed(1))
    rewards = features @ weights
    reward, better, longer = (x[::2] - x[1::2] for x in (rewards, quality, length))
    matched = longer.abs() < 0.4
    accuracy = (reward[matched] * better[matched] > 0).float().mean()
    return float(torch.corrcoef(torch.stack([reward, longer]))[0, 1]), float(accuracy)


def test_quality_lets_go_of_the_length_and_judges_matched_pairs_better() -> None:
    (plain, plain_matched), (freed, freed_matched) = (_measured(_train(p)) for p in (0.0, 1.0))
    assert plain > 0.8  # the shortcut is there, and is taken
    assert abs(freed) < 0.1
    assert freed_matched > plain_matched + 0.02


def test_without_a_penalty_there_is_no_length_head() -> None:
    objective = build_objective("pairwise", 0.01, 0.0, 1, 1, 1, seed=0)
    rewards = torch.randn(3, 1, 2)
    assert objective.parameters == []
    assert torch.equal(objective.fitted(rewards, torch.ones(3)), rewards)


def test_the_penalty_counts_each_attribute_as_often_as_it_has_comparisons() -> None:
    objective = build_objective("pairwise", 0.0, 2.0, 2, 1, 1, seed=0)
    rewards = torch.tensor([[3.0, 0.0], [1.0, 5.0], [0.0, 4.0]]).unsqueeze(2)
    lengths = torch.tensor([2.0, 1.0, 1.0])
    comparisons = [Comparison(0, 1, 0), Comparison(1, 2, 1), Comparison(2, 0, 1)]
    # head 0: cov 2 * 1; head 1: mean of 1 * 0 and 4 * -1
    expected = 2.0 * ((2.0**2) * 1 + (-2.0) ** 2 * 2)
    assert _penalty(objective, rewards, lengths, comparisons).item() == pytest.approx(expected)


class _Linear:
    """`SplitEncoder` of one matrix: states are features."""

    def __init__(self, num_features: int, num_outputs: int) -> None:
        generator = torch.Generator().manual_seed(2)
        weights = torch.randn(num_features, num_outputs, generator=generator, dtype=torch.float64)
        self.weights = weights.requires_grad_()

    def upper(self, states: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(states)) @ self.weights


def _step_of(num: int, cut: Sequence[int]) -> list[MicroBatch]:
    """Comparisons of rows 2i and 2i + 1, for two attributes in turn, cut at these numbers."""
    parts = zip((0, *cut), (*cut, num), strict=True)
    return [
        MicroBatch(
            tuple(range(2 * start, 2 * end)),
            tuple(Comparison(2 * i, 2 * i + 1, (start + i) % 2, start + i) for i in range(end - start)),
        )
        for start, end in parts
    ]


@pytest.mark.parametrize("cut", [(), (3,), (1, 2, 6)])
def test_how_a_step_is_cut_changes_neither_its_loss_nor_its_gradient(cut: Sequence[int]) -> None:
    num, penalty, generator = 7, 3.0, torch.Generator().manual_seed(3)
    states = torch.randn(2 * num, 5, generator=generator, dtype=torch.float64)
    lengths = torch.randn(2 * num, generator=generator, dtype=torch.float64)
    encoder: Any = _Linear(5, 4)  # two attributes of two members each
    layout, objective = HeadLayout(2, 2), build_objective("pairwise", 0.0, penalty, 2, num, 1, seed=0)
    learner = Learner(encoder, layout, objective, lengths, 1.0, Accelerator(cpu=True))
    told = learner.backward(list(states), _step_of(num, cut))
    found, encoder.weights.grad = encoder.weights.grad, None

    (whole,) = _step_of(num, ())
    rewards = layout.rewards(encoder.upper(list(states)))
    expected = objective.loss(objective.fitted(rewards, lengths), whole.comparisons)
    for head in range(2):
        differences = rewards[::2, head] - rewards[1::2, head]
        own = slice(head, None, 2)
        products = differences[own] * (lengths[::2] - lengths[1::2])[own].unsqueeze(1)
        expected = expected + penalty * len(products) * products.mean(0).square().mean()
    (expected / num).backward()
    assert told == pytest.approx(expected.item() / num)
    torch.testing.assert_close(found, encoder.weights.grad)
