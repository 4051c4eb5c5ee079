"""The comparison with `generate` compares the same work."""

from dataclasses import replace
from pathlib import Path

import pytest

from guerdon_training.ppo.generation_bench import by_generate, by_rollout, measure_generation
from guerdon_training.ppo.models import build_networks
from guerdon_training.ppo.prompts import read_prompts
from tests.training_ppo.jobs import LORA, config_of
from tests.training_ppo.tiny import write_prompts


def test_both_sides_sample_the_same_tokens_where_chance_has_no_say(
    policy_folder: Path, tmp_path: Path
) -> None:
    config = config_of(policy_folder, lora=LORA)
    rollout = replace(config.rollout, temperature=1e-3, max_response_tokens=24)
    networks = build_networks(config)
    prompts = read_prompts(write_prompts(tmp_path / "prompts.jsonl"), networks.tokenizer, max_tokens=32)
    found = by_rollout(networks, prompts, rollout, 1)
    assert len(prompts) <= found == by_generate(networks, prompts, rollout, 1)


def test_each_round_measures_both_sides(
    policy_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_prompts(Path("prompts.jsonl"))
    speed = measure_generation(config_of(policy_folder), num_prompts=2, rounds=2)
    assert len(speed.ours) == len(speed.plain) == len(speed.ratios) == 2
    assert min(r.cpu for r in (*speed.ours, *speed.plain)) > 0
    assert [p.name for p in tmp_path.iterdir()] == ["prompts.jsonl"]
