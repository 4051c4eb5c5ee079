"""Each loss against an oracle, values and gradients: trl, choix, enumeration, and its own limits."""

import itertools
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import choix
import pytest
import torch
from torch import Tensor
from trl.trainer.reward_trainer import RewardTrainer

from guerdon_training.losses import (
    bradley_terry,
    centring,
    davidson,
    davidson_logits,
    length_covariance,
    plackett_luce,
)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _theirs(rewards: Tensor, margin: Tensor | None, centring_weight: float | None) -> Tensor:
    """trl's loss of P pairs, of rewards [2 P], the chosen first."""
    trainer: Any = SimpleNamespace(
        model=SimpleNamespace(training=True),
        args=SimpleNamespace(center_rewards_coefficient=centring_weight),
        accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    inputs = {"attention_mask": torch.ones(len(rewards), 1)} | ({} if margin is None else {"margin": margin})
    loss: Tensor = RewardTrainer.compute_loss(
        trainer, lambda **_: SimpleNamespace(logits=rewards.unsqueeze(-1)), inputs
    )
    return loss


@pytest.mark.parametrize("with_margin", [False, True])
@pytest.mark.parametrize("centring_weight", [None, 0.01])
def test_margin_and_centring_are_those_of_trl(with_margin: bool, centring_weight: float | None) -> None:
    ours_in, theirs_in = (_random(12).requires_grad_() for _ in range(2))
    margin = torch.linspace(0, 2, 6, dtype=torch.float64) if with_margin else None
    chosen, rejected = ours_in.chunk(2)
    ours = bradley_terry(chosen, rejected, margin=0.0 if margin is None else margin).mean()
    ours = ours + (centring_weight or 0.0) * centring(chosen, rejected).mean()
    expected = _theirs(theirs_in, margin, centring_weight)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    ours.backward()
    expected.backward()
    assert ours_in.grad is not None and theirs_in.grad is not None and bool(ours_in.grad.abs().sum() > 0)
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("margin", [0.0, 0.7])
def test_soft_labels_at_0_and_1_are_the_hard_ones(margin: float) -> None:
    first, second = _random(7), _random(7, seed=1)
    ones = torch.ones(7, dtype=torch.float64)
    assert torch.equal(
        bradley_terry(first, second, ones, margin), bradley_terry(first, second, margin=margin)
    )
    swapped = bradley_terry(second, first, margin=margin)
    assert torch.equal(bradley_terry(first, second, 0 * ones, margin), swapped)


def test_each_pair_has_its_own_soft_label() -> None:
    labels = torch.tensor([0.55, 0.7, 0.9], dtype=torch.float64)
    margins = torch.logit(labels).requires_grad_()
    bradley_terry(margins, torch.zeros(3, dtype=torch.float64), labels).sum().backward()
    torch.testing.assert_close(margins.grad, torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)


def test_plackett_luce_is_that_of_choix() -> None:
    rewards = _random(5).requires_grad_()
    order = (3, 0, 4, 1, 2)
    ranks = torch.tensor([order.index(i) + 1 for i in range(5)])
    ours = plackett_luce(rewards, ranks)
    values = rewards.detach().numpy()
    assert ours.item() == pytest.approx(-choix.log_likelihood_rankings([order], values), abs=1e-10)
    ours.backward()
    assert rewards.grad is not None
    step = 1e-6
    for i in range(5):
        up, down = values.copy(), values.copy()
        up[i] += step
        down[i] -= step
        slope = choix.log_likelihood_rankings([order], down) - choix.log_likelihood_rankings([order], up)
        assert rewards.grad[i].item() == pytest.approx(slope / (2 * step), abs=1e-5)


def test_plackett_luce_is_a_distribution_over_rankings() -> None:
    rewards = _random(4)
    orders = [torch.tensor(p) + 1 for p in itertools.permutations(range(4))]
    total = sum(torch.exp(-plackett_luce(rewards, ranks)) for ranks in orders)
    assert float(total) == pytest.approx(1.0, abs=1e-12)


def test_plackett_luce_of_two_is_bradley_terry_and_its_tie_twice_a_label_of_one_half() -> None:
    rewards = _random(2)
    first, second = rewards.split(1)
    assert torch.allclose(plackett_luce(rewards, torch.tensor([1, 2])), bradley_terry(first, second))
    tied = plackett_luce(rewards, torch.tensor([1, 1]))
    assert torch.allclose(tied, 2 * bradley_terry(first, second, 0.5))


def test_plackett_luce_sees_every_column_alone() -> None:
    rewards, ranks = _random(4, 3), torch.tensor([2, 1, 3, 2])
    expected = torch.stack([plackett_luce(column, ranks) for column in rewards.T])
    torch.testing.assert_close(plackett_luce(rewards, ranks), expected)


@pytest.mark.parametrize("nu", [0.0, 0.3, 4.0])
def test_davidson_is_its_definition(nu: float) -> None:
    chosen, rejected = _random(6), _random(6, seed=1)
    p, q = chosen.exp(), rejected.exp()
    total = p + q + nu * (p * q).sqrt()
    expected = torch.stack([p, q, nu * (p * q).sqrt()], -1) / total.unsqueeze(-1)
    logits = davidson_logits(chosen, rejected, torch.tensor(nu, dtype=torch.float64).log())
    torch.testing.assert_close(logits.softmax(-1), expected, atol=1e-12, rtol=1e-12)
    assert torch.allclose(expected.sum(-1), torch.ones(6, dtype=torch.float64))


def test_davidson_without_ties_tends_to_bradley_terry() -> None:
    ours_in, theirs_in = (_random(6).requires_grad_() for _ in range(2))
    other, label = _random(6, seed=1), torch.linspace(0, 1, 6, dtype=torch.float64)
    ours = davidson(ours_in, other, label, torch.zeros_like(label), torch.tensor(-40.0, dtype=torch.float64))
    expected = bradley_terry(theirs_in, other, label)
    torch.testing.assert_close(ours, expected, atol=1e-10, rtol=0)
    ours.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours_in.grad, theirs_in.grad, atol=1e-10, rtol=0)


def test_nu_is_learned_from_the_share_of_ties() -> None:
    """Of equal strengths, nu / (2 + nu) tie: 40 % of them make it 4/3."""
    log_nu = torch.zeros((), dtype=torch.float64, requires_grad=True)
    label, tie = torch.tensor([0.3], dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    optimizer = torch.optim.LBFGS([log_nu], max_iter=50, tolerance_grad=1e-12, tolerance_change=0)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = davidson(torch.zeros_like(tie), torch.zeros_like(tie), label, tie, log_nu).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert log_nu.exp().item() == pytest.approx(4 / 3, rel=1e-6)


def test_gradients_match_finite_differences() -> None:
    first, second = (_random(5, seed=s).requires_grad_() for s in (0, 1))
    label, tie = (torch.linspace(low, 0.5, 5, dtype=torch.float64) for low in (0.1, 0.0))
    log_nu = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, r, n: davidson(c, r, label, tie, n), (first, second, log_nu))
    ranks = torch.tensor([2, 1, 2, 4, 5])
    assert torch.autograd.gradcheck(lambda r: plackett_luce(r, ranks), (first,))
    lengths = _random(5, seed=2)
    products, num = (first * lengths).sum(), torch.tensor(5)
    part = length_covariance(products, products.detach(), num)
    (found,) = torch.autograd.grad(part, first, retain_graph=True)
    torch.testing.assert_close(found, torch.autograd.grad(products.square() / num, first)[0])


def test_length_covariance_is_that_of_both_directions() -> None:
    differences, lengths = _random(9, 2), _random(9, seed=3) + 0.5
    both = [torch.cat([x, -x]) for x in (differences, lengths)]
    for column in range(2):
        joint = torch.stack([both[0][:, column], both[1]])
        expected = torch.cov(joint, correction=0)[0, 1] ** 2
        products = differences[:, column] * lengths
        parts = [length_covariance(p.sum(), products.sum(), torch.tensor(9)) for p in products.split(4)]
        assert torch.stack(parts).sum().item() / 9 == pytest.approx(expected.item(), abs=1e-12)
