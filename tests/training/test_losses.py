"""Losses against closed forms, finite differences and their defining symmetries."""

import math

import pytest
import torch

from guerdon_training.losses import bradley_terry, centring


def test_bradley_terry_is_the_negative_log_of_the_logistic() -> None:
    chosen, rejected = torch.tensor([0.0, 2.0, -3.0]), torch.tensor([0.0, -1.0, 1.5])
    expected = [math.log1p(math.exp(-m)) for m in (0.0, 3.0, -4.5)]
    assert bradley_terry(chosen, rejected).tolist() == pytest.approx(expected, rel=1e-6)


def test_bradley_terry_stays_finite_at_huge_margins() -> None:
    loss = bradley_terry(torch.tensor([1e4, -1e4]), torch.tensor([0.0, 0.0]))
    assert loss.tolist() == pytest.approx([0.0, 1e4])


@pytest.mark.parametrize("flip_rate", [0.05, 0.2, 0.4])
def test_with_a_flip_rate_the_best_margin_is_the_log_odds_of_a_right_label(flip_rate: float) -> None:
    margin = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([margin], max_iter=100, tolerance_grad=1e-12, tolerance_change=0)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = bradley_terry(margin, torch.zeros(1, dtype=torch.float64), 1 - flip_rate).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    assert margin.item() == pytest.approx(math.log((1 - flip_rate) / flip_rate), rel=1e-4)


def test_gradients_match_finite_differences() -> None:
    torch.manual_seed(0)
    chosen = torch.randn(5, dtype=torch.float64, requires_grad=True)
    rejected = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c, r: bradley_terry(c, r, 0.9), (chosen, rejected))
    assert torch.autograd.gradcheck(centring, (chosen, rejected))


def test_only_centring_sees_a_common_shift() -> None:
    chosen, rejected = torch.tensor([1.0]), torch.tensor([-1.0])
    assert torch.equal(bradley_terry(chosen + 4, rejected + 4), bradley_terry(chosen, rejected))
    assert centring(chosen, rejected).item() == 0.0
    assert centring(chosen + 4, rejected + 4).item() == 64.0
