"""What the reward model reads of an episode, and that every log-probability is the same number."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from guerdon_training.policy.config import PolicyLora
from guerdon_training.ppo.actor_critic import ActorCritic
from guerdon_training.ppo.config import RolloutConfig
from guerdon_training.ppo.models import Networks, build_networks
from guerdon_training.ppo.prompts import Prompt, read_prompts
from guerdon_training.ppo.rollout import (
    as_example,
    before_end,
    end_tokens,
    evaluate_episodes,
    roll_out,
    row_seed,
)
from tests.training_ppo.jobs import LORA, config_of
from tests.training_ppo.tiny import build_policy, write_prompts

ROLLOUT = RolloutConfig(prompts_per_update=16, max_response_tokens=12, temperature=0.7, batch_size=5)


def _prompts(networks: Networks, folder: Path, count: int = 16) -> list[Prompt]:
    return read_prompts(write_prompts(folder / "p.jsonl", count), networks.tokenizer, max_tokens=32)


@pytest.fixture(params=["full", "lora"])
def networks(request: pytest.FixtureRequest, tmp_path: Path) -> Networks:
    """With dropout in the config, which must be off."""
    base = build_policy(tmp_path / "policy", dropout=0.5)
    lora = LORA if request.param == "lora" else PolicyLora()
    return build_networks(config_of(base, lora=lora))


def test_sampler_policy_and_reference_agree_at_the_start(networks: Networks, tmp_path: Path) -> None:
    prompts = _prompts(networks, tmp_path)
    rollout = roll_out(networks.learner.policy, networks.tokenizer, prompts, range(16), ROLLOUT)
    networks.learner.train()  # dropout is off here too
    packed = evaluate_episodes(networks.learner, rollout, 0.7, 48)
    alone = evaluate_episodes(networks.learner, rollout, 0.7, 1)
    with networks.as_reference():
        reference = evaluate_episodes(networks.reference, rollout, 0.7, 1000)
    for other in (alone.logprobs, reference.logprobs, rollout.logprobs):
        torch.testing.assert_close(packed.logprobs, other, atol=1e-5, rtol=0)
    assert not packed.logprobs[rollout.mask == 0].any()
    hot = evaluate_episodes(networks.learner, rollout, 1.0, 48)
    assert float((hot.logprobs - packed.logprobs).abs().max()) > 0.1  # the temperature is in them


def test_the_reference_stays_while_the_policy_moves(networks: Networks, tmp_path: Path) -> None:
    prompts = _prompts(networks, tmp_path)
    rollout = roll_out(networks.learner.policy, networks.tokenizer, prompts, range(16), ROLLOUT)
    before = evaluate_episodes(networks.learner, rollout, 0.7, 48)
    with torch.no_grad():
        for parameter in networks.learner.policy.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    with networks.as_reference():
        reference = evaluate_episodes(networks.reference, rollout, 0.7, 48)
    torch.testing.assert_close(reference.logprobs, before.logprobs, atol=1e-6, rtol=0)
    moved = evaluate_episodes(networks.learner, rollout, 0.7, 48)
    assert float((moved.logprobs - before.logprobs).abs().max()) > 0.1


def test_values_begin_at_zero_and_the_critic_shares_no_weight(networks: Networks, tmp_path: Path) -> None:
    prompts = _prompts(networks, tmp_path)
    rollout = roll_out(networks.learner.policy, networks.tokenizer, prompts, range(16), ROLLOUT)
    assert not evaluate_episodes(networks.learner, rollout, 0.7, 48).values.any()
    assert networks.learner.value is not None
    policy = {p.data_ptr() for p in networks.learner.policy.parameters()}
    assert not policy & {p.data_ptr() for p in networks.learner.value.parameters()}


def test_entropies_are_of_the_tempered_distribution(networks: Networks, tmp_path: Path) -> None:
    prompts = _prompts(networks, tmp_path, 3)
    rollout = roll_out(networks.learner.policy, networks.tokenizer, prompts, range(3), ROLLOUT)
    found = evaluate_episodes(networks.learner, rollout, 0.7, 48, with_entropy=True).entropies
    for row, example in enumerate(rollout.examples):
        n = int(rollout.mask[row].sum())
        with torch.no_grad():
            logits = networks.learner.policy(torch.tensor([example.input_ids])).logits[0, -n - 1 : -1] / 0.7
        expected = torch.distributions.Categorical(logits=logits).entropy()
        torch.testing.assert_close(found[row, :n], expected, atol=1e-5, rtol=0)


def test_the_text_ends_before_the_first_eos_and_the_tokens_with_it(
    policy_folder: Path, tmp_path: Path
) -> None:
    networks = build_networks(config_of(policy_folder))
    prompts = _prompts(networks, tmp_path)
    rollout = roll_out(networks.learner.policy, networks.tokenizer, prompts, range(16), ROLLOUT)
    end = networks.tokenizer.eos_token_id
    assert 0 < int(rollout.finished.sum()) < 16
    for i, (prompt, conversation, example) in enumerate(
        zip(prompts, rollout.conversations, rollout.examples, strict=True)
    ):
        response = list(example.input_ids[len(prompt.ids) :])
        assert example.input_ids[: len(prompt.ids)] == prompt.ids
        assert end in prompt.ids  # an EOS in the prompt is not the response's
        assert bool(rollout.finished[i]) is (response[-1] == end)
        assert end not in response[:-1]
        assert conversation.prompt == prompt.messages
        visible = response[:-1] if rollout.finished[i] else response
        assert conversation.response == networks.tokenizer.decode(visible, skip_special_tokens=True)
        assert example.num_targets == len(response) == int(rollout.mask[i].sum())


@pytest.mark.parametrize("batch_size", [1, 16])
def test_batch_size_changes_nothing(policy_folder: Path, tmp_path: Path, batch_size: int) -> None:
    networks = build_networks(config_of(policy_folder))
    prompts = _prompts(networks, tmp_path)
    five, other = (
        roll_out(networks.learner.policy, networks.tokenizer, prompts, range(16), c)
        for c in (ROLLOUT, replace(ROLLOUT, batch_size=batch_size))
    )
    assert five.examples == other.examples
    assert five.conversations == other.conversations
    assert torch.equal(five.finished, other.finished)


def test_every_end_of_the_generation_config_ends_a_response(policy_folder: Path, tmp_path: Path) -> None:
    networks = build_networks(config_of(policy_folder))
    policy, tokenizer = networks.learner.policy, networks.tokenizer
    policy.generation_config.eos_token_id = [9, 3]
    assert end_tokens(policy, tokenizer) == (3, 9)
    rollout = roll_out(policy, tokenizer, _prompts(networks, tmp_path), range(16), ROLLOUT)
    ends = {example.input_ids[-1] for example in rollout.examples}
    assert {3, 9} <= ends
    assert all(9 not in e.input_ids[-e.num_targets : -1] for e in rollout.examples)
    assert not any("three" in c.response.split() for c in rollout.conversations)  # token 9


def test_whatever_follows_the_eos_is_cut() -> None:
    assert before_end([5, 6, 3, 7, 3], [3, 9]) == [5, 6]
    assert before_end([9, 5], [3, 9]) == []
    assert before_end([5, 6], [3, 9]) == [5, 6]


def test_a_row_that_is_read_at_its_last_token(policy_folder: Path) -> None:
    """The critic's value of a token is read from the state before it, at a hand-counted index."""
    networks = build_networks(config_of(policy_folder))
    assert networks.learner.value is not None
    with torch.no_grad():
        networks.learner.value.head.weight.normal_(generator=torch.Generator().manual_seed(0))
    learner: ActorCritic = networks.learner
    from guerdon_training.policy.rows import pack

    row = pack([as_example([1, 4, 3, 2], [5, 6, 3]), as_example([1, 2], [7])])
    with torch.no_grad():
        values = learner(row, 1.0).values
        states = learner.value.trunk(torch.tensor([[1, 4, 3, 2, 5, 6, 3]])).last_hidden_state[0, 3:6]  # type: ignore[union-attr]
        second = learner.value.trunk(torch.tensor([[1, 2, 7]])).last_hidden_state[0, 1:2]  # type: ignore[union-attr]
        expected = learner.value.head(torch.cat([states, second])).squeeze(-1)  # type: ignore[union-attr]
    torch.testing.assert_close(values, expected, atol=1e-5, rtol=0)


def test_seeds_differ_by_run_update_and_row() -> None:
    seeds = {row_seed(s, u, r) for s in range(3) for u in range(-2, 20) for r in range(50)}
    assert len(seeds) == 3 * 22 * 50
