"""GAE and leave-one-out against their definitions, whitening against its formula."""

import pytest
import torch
from torch import Tensor

from guerdon_training.ppo.advantages import generalised_advantages, leave_one_out
from guerdon_training.ppo.masked import masked_mean, masked_variance, whiten

LENGTHS = (7, 1, 4)


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _mask() -> Tensor:
    return (torch.arange(7) < torch.tensor(LENGTHS)[:, None]).double()


def _by_definition(rewards: Tensor, values: Tensor, gamma: float, lam: float) -> Tensor:
    """Eq. 16 of the paper as a double sum over one unpadded episode."""
    n = len(rewards)
    after = [*values.tolist()[1:], 0.0]
    deltas = [float(rewards[t]) + gamma * after[t] - float(values[t]) for t in range(n)]
    return torch.tensor(
        [sum((gamma * lam) ** k * deltas[t + k] for k in range(n - t)) for t in range(n)], dtype=torch.float64
    )


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.7, 0.0)])
def test_gae_is_the_sum_of_its_definition(gamma: float, lam: float) -> None:
    rewards, values, mask = _random(3, 7), _random(3, 7, seed=1), _mask()
    found = generalised_advantages(rewards, values, mask, gamma, lam)
    for row, n in enumerate(LENGTHS):
        expected = _by_definition(rewards[row, :n], values[row, :n], gamma, lam)
        torch.testing.assert_close(found[row, :n], expected, atol=1e-12, rtol=0)
        assert not found[row, n:].any()


def test_what_lies_beyond_the_response_is_never_read() -> None:
    rewards, values, mask = _random(3, 7), _random(3, 7, seed=1), _mask()
    before = generalised_advantages(rewards, values, mask, 1.0, 0.95)
    dirty = generalised_advantages(rewards + 9 * (1 - mask), values - 5 * (1 - mask), mask, 1.0, 0.95)
    assert torch.equal(before, dirty)


def test_with_lambda_one_the_return_is_the_sum_of_rewards_to_come() -> None:
    rewards, values, mask = _random(3, 7), _random(3, 7, seed=1), _mask()
    returns = generalised_advantages(rewards, values, mask, 1.0, 1.0) + values * mask
    to_come = (rewards * mask).flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(returns * mask, to_come * mask, atol=1e-12, rtol=0)


def test_leave_one_out_is_the_mean_of_the_others() -> None:
    rewards = torch.tensor([1.0, 2.0, 6.0, -4.0, 0.0, 1.0])
    found = leave_one_out(rewards, 3)
    assert found.tolist() == [1 - 4.0, 2 - 3.5, 6 - 1.5, -4 - 0.5, 0 + 1.5, 1 + 2.0]
    # eq. 6 of the paper: k / (k - 1) times the distance to the group's mean
    groups = rewards.view(2, 3)
    torch.testing.assert_close(found.view(2, 3), 1.5 * (groups - groups.mean(1, keepdim=True)))


def test_whitening_is_population_z_scores_of_the_kept() -> None:
    values, mask = _random(3, 7), _mask()
    kept = values[mask > 0]
    expected = (kept - kept.mean()) / (kept.var(correction=0) + 1e-8).sqrt()
    torch.testing.assert_close(whiten(values, mask)[mask > 0], expected)
    unshifted = whiten(values, mask, shift_mean=False)
    torch.testing.assert_close(unshifted[mask > 0], expected + kept.mean())
    assert not unshifted[mask == 0].any()


def test_nan_off_the_mask_is_ignored() -> None:
    values, mask = _random(3, 7), _mask()
    dirty = torch.where(mask > 0, values, float("nan"))
    assert float(masked_mean(dirty, mask)) == pytest.approx(float(values[mask > 0].mean()))
    assert float(masked_variance(dirty, mask)) == pytest.approx(float(values[mask > 0].var(correction=0)))
    torch.testing.assert_close(whiten(dirty, mask), whiten(values, mask))
