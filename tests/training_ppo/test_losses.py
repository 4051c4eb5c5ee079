"""Each loss against a scalar version written from the paper; estimators against exact divergences."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from guerdon_training.ppo.losses import (
    entropies,
    explained_variance,
    kl_k1,
    kl_k2,
    kl_k3,
    policy_clipped,
    policy_losses,
    value_losses,
)


def _random(n: int, seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_policy_loss_is_eq_7_of_the_ppo_paper() -> None:
    new, old, advantages = _random(200, 0, 0.3), _random(200, 1, 0.3), _random(200, 2)
    found = policy_losses(new, old, advantages, 0.2)
    for n, o, a, loss in zip(new.tolist(), old.tolist(), advantages.tolist(), found.tolist(), strict=True):
        ratio = math.exp(n - o)
        assert loss == pytest.approx(-min(ratio * a, min(max(ratio, 0.8), 1.2) * a), abs=1e-12)


def test_clipped_is_exactly_where_the_gradient_is_gone() -> None:
    new = _random(200, 0, 0.3).requires_grad_()
    old, advantages = _random(200, 1, 0.3), _random(200, 2)
    policy_losses(new, old, advantages, 0.2).sum().backward()
    clipped = policy_clipped(new.detach(), old, advantages, 0.2)
    assert new.grad is not None
    assert torch.equal(clipped == 1, new.grad == 0)
    assert 0 < clipped.mean() < 1


def test_at_ratio_one_the_gradient_is_that_of_reinforce() -> None:
    new, advantages = _random(50, 0).requires_grad_(), _random(50, 2)
    policy_losses(new, new.detach(), advantages, 0.2).sum().backward()
    torch.testing.assert_close(new.grad, -advantages)


def test_the_value_loss_takes_the_worse_of_clipped_and_free() -> None:
    values, old, returns = _random(200, 0), _random(200, 1), _random(200, 2)
    found = value_losses(values, old, returns, 0.2)
    for v, o, r, loss in zip(values.tolist(), old.tolist(), returns.tolist(), found.tolist(), strict=True):
        clipped = min(max(v, o - 0.2), o + 0.2)
        assert loss == pytest.approx(0.5 * max((v - r) ** 2, (clipped - r) ** 2), abs=1e-12)


def test_entropy_is_that_of_the_distribution() -> None:
    logits = _random(60, 3).view(4, 15)
    torch.testing.assert_close(entropies(logits), Categorical(logits=logits.float()).entropy())
    assert float(entropies(torch.tensor([0.0, -math.inf]))) == 0.0


def test_the_estimators_average_to_the_divergence_under_p() -> None:
    p, q = Categorical(logits=_random(12, 4)), Categorical(logits=_random(12, 5))
    exact = float(kl_divergence(p, q))

    def mean(estimates: Tensor) -> float:
        return float((p.probs * estimates).sum())

    assert mean(kl_k1(p.logits, q.logits)) == pytest.approx(exact, abs=1e-12)
    assert mean(kl_k3(p.logits, q.logits)) == pytest.approx(exact, abs=1e-12)
    near = Categorical(logits=p.logits + 0.01 * q.logits)
    k2 = mean(kl_k2(p.logits, near.logits))
    assert k2 == pytest.approx(float(kl_divergence(p, near)), rel=0.02)


def test_k1_may_be_negative_k2_and_k3_never() -> None:
    p, q = _random(500, 6, 2.0), _random(500, 7, 2.0)
    assert bool((kl_k1(p, q) < 0).any())
    assert bool((kl_k2(p, q) >= 0).all())
    assert bool((kl_k3(p, q) >= 0).all())
    assert not kl_k3(p, p).any()


def test_explained_variance() -> None:
    returns = _random(100, 8)
    assert explained_variance(returns, returns) == 1.0
    assert explained_variance(torch.zeros(100), returns) == pytest.approx(0.0, abs=1e-12)
    assert explained_variance(-returns, returns) == pytest.approx(-3.0)
    assert explained_variance(returns, torch.ones(100)) == 0.0
