"""Each loss against its closed form and against trl, values and gradients."""

from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from trl.trainer.dpo_trainer import DPOTrainer

from guerdon_training.policy.objective import LossConfig, pair_figures
from guerdon_training.preference_losses import (
    LOSSES,
    conservative_loss,
    hinge_loss,
    ipo_loss,
    robust_loss,
    sigmoid_loss,
)

MARGIN = torch.tensor([-30.0, -2.0, 0.0, 0.5, 30.0], dtype=torch.float64)


def test_sigmoid_is_log_two_at_zero_and_linear_far_below() -> None:
    found = sigmoid_loss(torch.tensor([0.0, -1e4], dtype=torch.float64), 0.1)
    assert found.tolist() == pytest.approx([0.6931471805599453, 1000.0])


def test_conservative_is_the_cross_entropy_of_a_soft_label() -> None:
    p = torch.sigmoid(0.3 * MARGIN)
    torch.testing.assert_close(conservative_loss(MARGIN, 0.3, 0.2), -(0.8 * p.log() + 0.2 * (1 - p).log()))
    best = torch.linspace(-20, 20, 4001, dtype=torch.float64)
    least = best[conservative_loss(best, 0.3, 0.2).argmin()]
    assert float(torch.sigmoid(0.3 * least)) == pytest.approx(0.8, abs=1e-3)


def test_robust_is_unbiased_under_flips() -> None:
    expected = 0.8 * robust_loss(MARGIN, 0.3, 0.2) + 0.2 * robust_loss(-MARGIN, 0.3, 0.2)
    torch.testing.assert_close(expected, sigmoid_loss(MARGIN, 0.3))


def test_without_flips_robust_and_conservative_are_sigmoid() -> None:
    for loss in (conservative_loss, robust_loss):
        torch.testing.assert_close(loss(MARGIN, 0.1, 0.0), sigmoid_loss(MARGIN, 0.1))


def test_ipo_is_least_at_half_over_beta() -> None:
    assert ipo_loss(torch.tensor([5.0, 0.0]), 0.1).tolist() == pytest.approx([0.0, 25.0])


def test_hinge_is_zero_beyond_the_margin() -> None:
    assert hinge_loss(torch.tensor([20.0, 10.0, 5.0, -10.0]), 0.1).tolist() == pytest.approx([0, 0, 0.5, 2])


COUNTS = torch.tensor([[4, 5], [7, 3], [2, 8]])
"""Tokens of the chosen and the rejected response of three pairs, of which the longest has room for 9."""


def _theirs(kind: str, config: LossConfig, logps: Tensor, ref: Tensor) -> Tensor:
    """trl's loss of one pair, from log-probabilities by token: [2, 9], chosen and rejected, then zeros."""
    mask = (logps != 0).long()
    outputs = SimpleNamespace(
        log_probs=logps,
        entropy=torch.zeros(2, 9),
        mean_logits=torch.zeros(2, 9),
        is_top1=torch.zeros(2, 9, dtype=torch.bool),
    )
    inputs = {
        "input_ids": torch.zeros(2, 10, dtype=torch.long),
        "attention_mask": torch.ones(2, 10, dtype=torch.long),
        "completion_mask": torch.cat([torch.zeros(2, 1, dtype=torch.long), mask], dim=1),
        "ref_chosen_logps": ref[:1].sum(1),
        "ref_rejected_logps": ref[1:].sum(1),
    }
    trainer: Any = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(device=None, gather=lambda x: x, gather_for_metrics=lambda x: x),
        aux_loss_enabled=False,
        ld_alpha=None,
        precompute_ref_logps=True,
        f_divergence_type="reverse_kl",
        loss_types=[kind],
        loss_weights=[1.0],
        beta=config.beta,
        label_smoothing=config.flip_rate,
        use_weighting=False,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
    )
    loss: Tensor = DPOTrainer._compute_loss(trainer, lambda **_: outputs, inputs, return_outputs=False)
    return loss


@pytest.mark.parametrize(
    ("config", "theirs"),
    [
        (LossConfig("sigmoid", 0.1), "sigmoid"),
        (LossConfig("sigmoid", 2.0, length_normalised=True), "sigmoid_norm"),
        # cDPO is gone from trl, but its aot, which sorts a batch, is that loss where the batch is one pair
        (LossConfig("conservative", 0.5, 0.15), "aot"),
        (LossConfig("robust", 0.5, 0.15), "robust"),
        (LossConfig("ipo", 0.2), "ipo"),
        (LossConfig("hinge", 0.1), "hinge"),
    ],
)
def test_loss_and_gradient_are_those_of_trl(config: LossConfig, theirs: str) -> None:
    generator = torch.Generator().manual_seed(4)
    mask = torch.arange(9) < COUNTS[..., None]
    logps, ref = (-(torch.rand(3, 2, 9, generator=generator) * 4 + 0.1) * mask for _ in range(2))
    ours_in, theirs_in = (logps.clone().requires_grad_() for _ in range(2))
    ours = pair_figures((ours_in - ref).sum(2), COUNTS, config)["loss"]
    expected = torch.stack([_theirs(theirs, config, theirs_in[i], ref[i]) for i in range(3)])
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    ours.sum().backward()
    expected.sum().backward()
    assert ours_in.grad is not None and theirs_in.grad is not None
    torch.testing.assert_close(ours_in.grad * mask, theirs_in.grad * mask, atol=1e-5, rtol=1e-5)
    assert bool(ours_in.grad.abs().sum() > 0)


def test_every_loss_of_a_config_is_finite_far_out() -> None:
    for name, loss in LOSSES.items():
        margin = torch.tensor([-1e4, 1e4], requires_grad=True)
        loss(margin, 0.1, 0.1).sum().backward()
        assert margin.grad is not None and bool(torch.isfinite(margin.grad).all()), name


def test_figures_of_a_pair() -> None:
    ratios = torch.tensor([[1.0, -2.0], [-4.0, -1.0], [2.0, 2.0]])
    counts = torch.tensor([[2, 4], [2, 4], [2, 4]])
    found = pair_figures(ratios, counts, LossConfig("sigmoid", 0.5))
    assert found["accuracy"].tolist() == [1.0, 0.0, 0.5]
    assert found["margin"].tolist() == [1.5, -1.5, 0.0]
    assert found["chosen"].tolist() == [1.0, -4.0, 2.0]
    assert found["rejected"].tolist() == [-2.0, -1.0, 2.0]
    by_token = pair_figures(ratios, counts, LossConfig("sigmoid", 0.5, length_normalised=True))
    assert by_token["margin"].tolist() == [0.5, -0.875, 0.25]
