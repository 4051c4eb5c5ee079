"""Settings that a run would ignore are refused, with the default to set."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training.policy.config import PolicyLora
from guerdon_training.ppo.check import check_ppo
from guerdon_training.ppo.config import KlConfig, PpoConfig, PromptData, RolloutConfig, ScoreRule, ScoreSource
from guerdon_training.ppo.models import build_networks
from tests.training_ppo.jobs import config_of


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("optim.gamma", "1.0"),
        ("optim.lam", "0.95"),
        ("optim.value_learning_rate", "0.0"),
        ("optim.value_clip", "0.2"),
        ("optim.value_weight", "0.1"),
    ],
)
def test_a_setting_of_the_critic_is_refused_by_rloo(policy_folder: Path, key: str, default: str) -> None:
    config: Any = config_of(policy_folder, "rloo")
    check_ppo(config)
    _refused(replace(config, optim=replace(config.optim, **{key.removeprefix("optim."): 0.5})), key, default)


def test_whitened_token_rewards_are_refused_by_rloo(policy_folder: Path) -> None:
    check_ppo(config_of(policy_folder, scores=ScoreRule(whiten=True)))
    _refused(config_of(policy_folder, "rloo", scores=ScoreRule(whiten=True)), "scores.whiten", "false")


@pytest.mark.parametrize("name", ["reward", "gold"])
def test_a_setting_that_the_reward_would_not_read_is_refused(
    policy_folder: Path, tmp_path: Path, name: str
) -> None:
    config: Any = config_of(policy_folder, data=PromptData("p", "v"))
    one, two = (str(tmp_path / "one"),), (str(tmp_path / "one"), str(tmp_path / "two"))
    check_ppo(replace(config, **{name: ScoreSource(two, conservatism=0.5)}))
    check_ppo(replace(config, **{name: ScoreSource(one, profile="careful")}))
    _refused(replace(config, **{name: ScoreSource(one, conservatism=0.5)}), f"{name}.conservatism", "0.0")
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "implicit_reward.json").write_text("{}")
    check_ppo(replace(config, **{name: ScoreSource(one)}))
    _refused(replace(config, **{name: ScoreSource(one, profile="careful")}), f"{name}.profile", '""')


@pytest.mark.parametrize("penalty", [-1.0, float("inf"), float("nan")])
def test_a_penalty_that_rewards_or_drowns_everything_is_refused(policy_folder: Path, penalty: float) -> None:
    with pytest.raises(InvalidInput, match=r"scores\.missing_eos_penalty must be at least 0, and finite"):
        check_ppo(config_of(policy_folder, scores=ScoreRule(missing_eos_penalty=penalty)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kl": KlConfig(coefficient=0.0, target=6.0)}, "kl.coefficient must be above 0 with kl.target"),
        ({"kl": KlConfig(horizon=100)}, "kl.horizon is of kl.target, which is 0"),
        ({"scores": ScoreRule("keep", 2.0)}, "scores.missing_eos_penalty is not used where"),
        ({"lora": PolicyLora(last_layers=1)}, "lora.last_layers is of adapters, and rank is 0"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(
    policy_folder: Path, changes: dict[str, Any], said: str
) -> None:
    config: Any = config_of(policy_folder, **changes)
    with pytest.raises(InvalidInput, match=said):
        check_ppo(config)
        build_networks(config)


def test_less_room_than_a_conversation_takes_is_refused(policy_folder: Path) -> None:
    rollout = RolloutConfig(prompts_per_update=4, max_response_tokens=3, max_prompt_tokens=4)
    with pytest.raises(InvalidInput, match="max_prompt_tokens and max_response_tokens must be at least 8"):
        check_ppo(config_of(policy_folder, rollout=rollout))


def _refused(config: PpoConfig, key: str, default: str) -> None:
    with pytest.raises(InvalidInput, match=f"^config {key} .*; leave it out, or set {default}$") as caught:
        check_ppo(config)
    assert caught.value.param == key
