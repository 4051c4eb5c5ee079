"""Rewards token by token against a golden vector, and the controller's step response."""

import pytest
import torch

from guerdon_training.ppo.kl import KlController, token_rewards


def test_the_score_lands_on_the_last_response_token() -> None:
    logprobs = torch.tensor([[-1.0, -2.0, -3.0], [-1.0, -1.0, -1.0], [-2.0, 7.0, 7.0]])
    reference = torch.tensor([[-1.5, -2.0, 9.0], [-1.0, -2.0, -0.5], [-1.0, 9.0, -9.0]])
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])  # the second filled all places
    rewards = token_rewards(torch.tensor([10.0, 20.0, 30.0]), logprobs, reference, mask, 0.1)
    expected = torch.tensor([[-0.05, 10.0, 0.0], [0.0, -0.1, 20.0 + 0.05], [30.0 + 0.1, 0.0, 0.0]])
    torch.testing.assert_close(rewards, expected)


def test_a_fixed_coefficient_stays() -> None:
    controller = KlController(0.05)
    assert controller.after(1e9, 512) is controller


@pytest.mark.parametrize(
    ("kl", "factor"),
    [
        (6.0, 1.0),
        (6.6, 1.0 + 0.1 * 256 / 10_000),
        (60.0, 1.0 + 0.2 * 256 / 10_000),
        (0.0, 1.0 - 0.2 * 256 / 10_000),
        (-3.0, 1.0 - 0.2 * 256 / 10_000),
    ],
)
def test_one_step_of_the_controller(kl: float, factor: float) -> None:
    after = KlController(0.15, target=6.0).after(kl, 256)
    assert after.coefficient == pytest.approx(0.15 * factor, abs=1e-12)


def test_the_controller_holds_a_plant_at_its_target() -> None:
    controller = KlController(0.15, target=6.0, horizon=1000)
    for _ in range(300):
        controller = controller.after(0.9 / controller.coefficient, 256)  # a policy whose KL is 0.9 / beta
    assert 0.9 / controller.coefficient == pytest.approx(6.0, rel=1e-3)
