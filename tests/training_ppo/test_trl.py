"""One update beside TRL's last PPO trainer: the same responses and scores, the same figures and weights.

TRL differs by design in five things. It clips no gradient. It whitens with the sample's variance, ours with
the population's, as the first PPO did (here TRL is told to do the same, by a parameter of its own). It adds
1e-7 to the temperature. It reads ends off the pad's id, so here no token but the pad has that id. And it
puts the score one position behind a response that ended early: a step with a value of its own. So the
critics are compared where every response fills its positions. Where some end early, that step leaves no
trace in the advantages of the others as long as nothing is discounted; there the policies are compared
alone.
"""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.manifest import Norm
from guerdon_training.ppo.config import KlConfig, PpoConfig, PpoOptim, ScoreRule
from guerdon_training.ppo.episodes import Episodes, describe, learnable
from guerdon_training.ppo.models import Networks, build_networks
from guerdon_training.ppo.rollout import Rollout, as_example, evaluate_episodes
from guerdon_training.ppo.sample import pad_left
from guerdon_training.ppo.scores import final_scores
from guerdon_training.ppo.update import update
from tests.training_ppo.jobs import config_of
from tests.training_ppo.trl_ppo import PAD, Found, one_update

END, NUM_EPISODES, NUM_TOKENS, SEED = 3, 16, 6, 7
NUMBERS = torch.linspace(-1.0, 1.0, 12).roll(5)
"""What each token adds to a score."""
NUMBERS[PAD] = 0.0
SAME = {
    "objective/score": "objective/scores",
    "objective/kl": "objective/kl",
    "objective/reward": "objective/rlhf_reward",
    "loss/policy": "loss/policy_avg",
    "policy/clip_fraction": "policy/clipfrac_avg",
}
"""Figures, ours and theirs."""


def _config(base: Path, *, ends_early: bool, whiten: bool) -> PpoConfig:
    config = config_of(base, kl=KlConfig(0.05), scores=ScoreRule("subtract", 0.7, whiten=whiten))
    optim = PpoOptim(updates=1, learning_rate=1e-3, epochs=3, minibatches=2, num_threads=1)
    # with a larger epsilon the rounding of gradients that are almost 0 weighs less
    optim = replace(optim, max_grad_norm=1e9, adam_eps=1e-4)
    special = {"lam": 1.0, "value_weight": 0.0} if ends_early else {"lam": 0.9, "gamma": 0.97}
    optim = replace(optim, **special)  # type: ignore[arg-type]
    return replace(config, optim=optim, rollout=replace(config.rollout, temperature=0.7))


@torch.no_grad()
def _networks(config: PpoConfig) -> Networks:
    """The policy is away from its reference, and the critic says something."""
    networks = build_networks(config)
    generator = torch.Generator().manual_seed(SEED)
    assert networks.learner.value is not None
    nn.init.normal_(networks.learner.value.head.weight, std=0.2, generator=generator)
    for weights in networks.learner.policy.parameters():
        weights.add_(0.05 * torch.randn(weights.shape, generator=generator))
    return networks


def _texts(*, ends_early: bool) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts and responses; some have an end, at the last position or anywhere."""
    generator = torch.Generator().manual_seed(SEED)

    def words(num: int) -> list[int]:
        return torch.randint(4, 12, (num,), generator=generator).tolist()

    prompts = [words(1 + i % 4) for i in range(NUM_EPISODES)]
    sizes = [1 + i % NUM_TOKENS if ends_early else NUM_TOKENS for i in range(NUM_EPISODES)]
    responses = [words(size) for size in sizes]
    for i, response in enumerate(responses):
        if len(response) < NUM_TOKENS or i % 5:
            response[-1] = END
    return prompts, responses


def _padded(responses: list[list[int]]) -> Tensor:
    return torch.tensor([ids + [PAD] * (NUM_TOKENS - len(ids)) for ids in responses])


def _ours(
    networks: Networks, prompts: list[list[int]], responses: list[list[int]], config: PpoConfig
) -> tuple[Episodes, dict[str, float]]:
    """Episodes, then the update of `networks` in place; figures of both."""
    mask = (_padded(responses) != PAD).float()
    examples = tuple(as_example(p, r) for p, r in zip(prompts, responses, strict=True))
    finished = torch.tensor([ids[-1] == END for ids in responses])
    texts = tuple(Conversation((), str(ids)) for ids in responses)
    rollout = Rollout(texts, examples, mask, torch.zeros_like(mask), finished)
    raw = [float(NUMBERS[list(e.input_ids)].sum()) for e in examples]
    scores = final_scores(raw, finished, Norm(), config.scores)
    sampled = evaluate_episodes(networks.learner, rollout, config.rollout.temperature, 64)
    reference = evaluate_episodes(networks.reference, rollout, config.rollout.temperature, 64)
    beta = config.kl.coefficient
    episodes = learnable(rollout, scores, sampled, reference, beta, config)
    figures = describe(episodes, scores, sampled, reference, beta)
    optim = config.optim
    adam = torch.optim.Adam(networks.learner.parameters(), optim.learning_rate, eps=optim.adam_eps)
    return episodes, figures | update(Accelerator(), networks.learner, adam, episodes, config, SEED)


def _theirs(
    networks: Networks, prompts: list[list[int]], responses: list[list[int]], config: PpoConfig, folder: Path
) -> Found:
    generator = torch.Generator().manual_seed(SEED)  # of which `update` draws its orders too
    return one_update(
        networks,
        pad_left(prompts, PAD)[0],
        _padded(responses),
        NUMBERS,
        config,
        lambda num: torch.randperm(num, generator=generator).numpy(),
        folder,
    )


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of options that TRL 1.12 still sets
@pytest.mark.parametrize(
    ("ends_early", "whiten"),
    [(False, False), (False, True), (True, False)],
    ids=["full", "whitened", "early"],
)
def test_an_update_is_that_of_trl(
    policy_folder: Path, tmp_path: Path, ends_early: bool, whiten: bool
) -> None:
    config = _config(policy_folder, ends_early=ends_early, whiten=whiten)
    networks = _networks(config)
    prompts, responses = _texts(ends_early=ends_early)
    before = [p.detach().clone() for p in networks.learner.policy.parameters()]
    theirs = _theirs(networks, prompts, responses, config, tmp_path)
    episodes, figures = _ours(networks, prompts, responses, config)

    kept, advantages = episodes.rollout.mask > 0, episodes.returns - episodes.values
    torch.testing.assert_close(advantages[kept], theirs.whitened[-1][kept], atol=1e-5, rtol=1e-5)
    if whiten:
        assert len(theirs.whitened) == 2  # the rewards first
    same = SAME if ends_early else SAME | {"loss/value": "loss/value_avg"}
    expected = {name: theirs.figures[other] for name, other in same.items()}
    assert {name: figures[name] for name in same} == pytest.approx(expected, abs=1e-5)
    assert figures["objective/kl"] > 0.5
    assert 0.1 < figures["policy/clip_fraction"] < 0.9

    moved = [(a - b).abs().max() for a, b in zip(before, networks.learner.policy.parameters(), strict=True)]
    assert min(moved) > 1e-3
    _check_alike(networks.learner.policy, theirs.policy)
    if not ends_early:
        assert networks.learner.value is not None
        _check_alike(networks.learner.value.trunk, theirs.critic.trunk)
        _check_alike(networks.learner.value.head, theirs.critic.score)


def _check_alike(ours: nn.Module, theirs: nn.Module) -> None:
    for weights, others in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(weights, others, atol=1e-5, rtol=1e-5)
