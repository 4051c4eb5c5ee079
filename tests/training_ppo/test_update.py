"""The gradient of one step: exact ratios, no clipping at first, whatever the packing; RLOO's closed form."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from guerdon_service.core.errors import GuerdonError
from guerdon_service.core.manifest import Norm
from guerdon_training.ppo.actor_critic import Evaluated
from guerdon_training.ppo.config import PpoConfig, PpoOptim, ScoreRule
from guerdon_training.ppo.episodes import Episodes, learnable
from guerdon_training.ppo.kl import KlController
from guerdon_training.ppo.models import build_networks
from guerdon_training.ppo.progress import Job, Progress
from guerdon_training.ppo.recipe import collect
from guerdon_training.ppo.rollout import Rollout
from guerdon_training.ppo.update import learning_rate, update
from tests.training_ppo.jobs import config_of, job_of

PROGRESS = Progress(KlController(0.1), Norm())


def _gradients(config: PpoConfig, folder: Path, *, critic: bool = False) -> tuple[Tensor, dict[str, float]]:
    """Of one step over the whole rollout, as SGD with rate 1 moves the policy (or the critic)."""
    job = job_of(config, folder)
    episodes, _ = collect(Accelerator(), job, PROGRESS, 0)
    module = job.networks.learner.value if critic else job.networks.learner.policy
    assert module is not None
    parameters = list(module.parameters())
    before = torch.cat([p.detach().flatten().clone() for p in parameters])
    optimizer = torch.optim.SGD(job.networks.learner.parameters(), lr=1.0)
    figures = update(Accelerator(), job.networks.learner, optimizer, episodes, config, 0)
    return before - torch.cat([p.detach().flatten() for p in parameters]), figures


def _one_step(base: Path, algorithm: str, **optim: float) -> PpoConfig:
    config = config_of(base, algorithm)
    settings = {"epochs": 1, "minibatches": 1, "max_grad_norm": 1e9} | optim
    return replace(config, optim=replace(config.optim, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["ppo", "rloo"])
def test_the_first_ratio_is_one_and_nothing_is_clipped(
    policy_folder: Path, tmp_path: Path, algorithm: str
) -> None:
    config = config_of(policy_folder, algorithm)
    job = job_of(config, tmp_path)
    episodes, figures = collect(Accelerator(), job, PROGRESS, 0)
    assert figures["objective/kl"] == pytest.approx(0.0, abs=1e-5)
    assert figures["objective/kl_k3"] == pytest.approx(0.0, abs=1e-6)
    assert figures["check/logprob_gap"] < 1e-5
    optimizer = torch.optim.Adam(job.networks.learner.parameters(), lr=1e-2)
    stepped = update(Accelerator(), job.networks.learner, optimizer, episodes, config, 0)
    assert stepped["first/ratio"] == pytest.approx(1.0, abs=1e-5)
    assert stepped["first/clip_fraction"] == 0.0
    assert stepped["policy/clip_fraction"] > 0.0  # later steps do clip at this rate
    assert stepped["policy/approx_kl"] > 0.0


@pytest.mark.parametrize(("algorithm", "critic"), [("ppo", False), ("ppo", True), ("rloo", False)])
def test_packing_does_not_change_the_gradient(
    policy_folder: Path, tmp_path: Path, algorithm: str, critic: bool
) -> None:
    whole, figures = _gradients(_one_step(policy_folder, algorithm), tmp_path, critic=critic)
    rows = _one_step(policy_folder, algorithm, max_row_tokens=1)
    alone, same = _gradients(rows, tmp_path, critic=critic)
    assert float(whole.norm()) > 1e-2
    torch.testing.assert_close(alone, whole, atol=1e-5, rtol=1e-4)
    assert same == pytest.approx(figures, abs=1e-5)


def test_rloo_has_no_critic(policy_folder: Path) -> None:
    assert build_networks(config_of(policy_folder, "rloo")).learner.value is None
    assert build_networks(config_of(policy_folder, "ppo")).learner.value is not None


def test_rloo_is_reinforce_with_the_others_as_baseline(policy_folder: Path, tmp_path: Path) -> None:
    config = _one_step(policy_folder, "rloo")
    found, _ = _gradients(config, tmp_path)
    job = job_of(config, tmp_path)
    episodes, _ = collect(Accelerator(), job, PROGRESS, 0)
    policy, k = job.networks.learner.policy, config.rollout.samples_per_prompt
    terms = []
    raw = job.reward.score(episodes.rollout.conversations)
    scores = [-3.0 if r is None else r for r in raw]
    scores = [s if f else -1.0 for s, f in zip(scores, episodes.rollout.finished.tolist(), strict=True)]
    for i, example in enumerate(episodes.rollout.examples):
        group = range(i - i % k, i - i % k + k)
        baseline = sum(scores[j] for j in group if j != i) / (k - 1)
        ids = torch.tensor([example.input_ids])
        logs = torch.log_softmax(policy(ids).logits[0, :-1], -1)
        n = example.num_targets
        logprob = logs.gather(1, ids[0, 1:, None]).squeeze(1)[-n:].sum()
        terms.append(-(scores[i] - baseline) * logprob)  # the policy is the reference: no KL yet
    torch.stack(terms).mean().backward()
    expected = torch.cat([p.grad.flatten() for p in policy.parameters()])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def _rollout(mask: Tensor) -> Rollout:
    return Rollout((), (), mask, torch.zeros_like(mask), torch.ones(len(mask), dtype=torch.bool))


def test_rloo_takes_the_kl_of_whole_responses_into_the_reward(policy_folder: Path) -> None:
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    sampled = Evaluated(torch.tensor([[-1.0, -2.0], [-1.0, 9.0]]), torch.zeros(2, 2), torch.zeros(2, 2))
    reference = Evaluated(torch.tensor([[-2.0, -4.0], [-0.5, -9.0]]), torch.zeros(2, 2), torch.zeros(2, 2))
    config = config_of(policy_folder, "rloo")
    config = replace(config, rollout=replace(config.rollout, samples_per_prompt=2))
    found = learnable(_rollout(mask), torch.tensor([1.0, 2.0]), sampled, reference, 0.1, config)
    rewards = (1.0 - 0.1 * 3.0, 2.0 + 0.1 * 0.5)
    torch.testing.assert_close(
        found.advantages, torch.tensor([rewards[0] - rewards[1], rewards[1] - rewards[0]])
    )


def test_ppo_whitens_advantages_and_leaves_the_returns(policy_folder: Path) -> None:
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    values = torch.tensor([[0.5, -0.5, 1.0], [0.0, 2.0, 0.0]])
    sampled = Evaluated(torch.zeros(2, 3), values, torch.zeros(2, 3))
    config = replace(config_of(policy_folder), optim=PpoOptim(updates=1, lam=1.0))
    found = learnable(_rollout(mask), torch.tensor([3.0, -1.0]), sampled, sampled, 0.1, config)
    torch.testing.assert_close(found.returns, torch.tensor([[3.0, 3.0, 3.0], [-1.0, -1.0, 0.0]]))
    kept = found.advantages[mask > 0]
    torch.testing.assert_close(kept.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)
    torch.testing.assert_close(kept.std(correction=0), torch.tensor(1.0))


def test_whitened_rewards_keep_their_mean(policy_folder: Path) -> None:
    mask = torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
    sampled = Evaluated(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2, 3))
    config = config_of(policy_folder, scores=ScoreRule(whiten=True))
    config = replace(config, optim=replace(config.optim, lam=1.0))
    found = learnable(_rollout(mask), torch.tensor([3.0, -1.0]), sampled, sampled, 0.1, config)
    rewards = torch.tensor([0.0, 0.0, 3.0, 0.0, -1.0])
    scaled = (rewards - rewards.mean()) / rewards.std(correction=0) + rewards.mean()
    expected = torch.tensor([scaled[:3].sum(), scaled[3:].sum()])
    torch.testing.assert_close(found.returns[:, 0], expected)


def _episodes(job: Job) -> Episodes:
    return collect(Accelerator(), job, PROGRESS, 0)[0]


def test_a_loss_that_is_not_finite_stops_before_the_step(policy_folder: Path, tmp_path: Path) -> None:
    config = config_of(policy_folder)
    job = job_of(config, tmp_path)
    episodes = _episodes(job)
    before = [p.detach().clone() for p in job.networks.learner.parameters()]
    broken = replace(episodes, advantages=torch.full_like(episodes.advantages, float("nan")))
    optimizer = torch.optim.Adam(job.networks.learner.parameters())
    with pytest.raises(GuerdonError, match="not finite"):
        update(Accelerator(), job.networks.learner, optimizer, broken, config, 0)
    assert all(torch.equal(a, b) for a, b in zip(before, job.networks.learner.parameters(), strict=True))


def test_every_epoch_takes_all_episodes_in_an_order_of_its_own(
    policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(policy_folder)
    config = replace(config, optim=replace(config.optim, epochs=3, minibatches=2))
    job = job_of(config, tmp_path)
    episodes, _ = collect(Accelerator(), job, PROGRESS, 0)
    seen: list[list[int]] = []

    def step(*args: Any) -> dict[str, float]:
        seen.append(args[4])
        return {"policy/ratio": 1.0, "policy/clip_fraction": 0.0}

    monkeypatch.setattr("guerdon_training.ppo.update._step", step)
    learner = job.networks.learner
    update(Accelerator(), learner, torch.optim.SGD(learner.parameters()), episodes, config, 0)
    orders = [seen[i] + seen[i + 1] for i in (0, 2, 4)]
    assert all(sorted(order) == list(range(len(episodes.rollout.examples))) for order in orders)
    assert len({tuple(order) for order in orders}) == 3


def test_the_learning_rate_anneals_to_zero() -> None:
    optim = PpoOptim(updates=4)
    assert [learning_rate(1.0, done, optim) for done in range(4)] == [1.0, 0.75, 0.5, 0.25]


def test_defaults_are_those_of_the_sources() -> None:
    optim = PpoOptim(updates=1)
    assert (optim.adam_eps, optim.learning_rate, optim.epochs, optim.clip, optim.value_clip) == (
        1e-5,
        3e-6,
        4,
        0.2,
        0.2,
    )
    assert (optim.value_weight, optim.gamma, optim.lam) == (0.1, 1.0, 0.95)
