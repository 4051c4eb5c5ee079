"""A reward model on a language model: its config, and what its recipe refuses."""

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
)

from guerdon_service.backends.families import FAMILIES
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_training.cli import RECIPES, train_command
from guerdon_training.config_file import build_config
from guerdon_training.policy.reward_model import SERVED
from guerdon_training.policy.scored_pairs import service_encoder
from guerdon_training.reward_lm import train_reward_lm
from guerdon_training.reward_lm_config import RewardLmConfig, check_precision, served_form
from guerdon_training.yaml_text import parse_yaml
from tests.docs.code_blocks import DOCS, blocks_of
from tests.training_policy.conftest import here, tiny_lm
from tests.training_policy.runs import check_refused, replaced
from tests.training_policy.tiny_lm import build_lm
from tests.training_reward.lm_runs import prepare

__all__ = ["here", "tiny_lm"]


@pytest.mark.parametrize(
    ("is_fsdp2", "precision", "refused"), [(True, "bf16", True), (True, "no", False), (False, "bf16", False)]
)
def test_fsdp_in_half_precision_is_refused(is_fsdp2: bool, precision: str, refused: bool) -> None:
    launched: Any = SimpleNamespace(is_fsdp2=is_fsdp2, mixed_precision=precision)
    with pytest.raises(InvalidInput, match="--mixed_precision is bf16") if refused else nullcontext():
        check_precision(launched)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("seed: 5", "seed: 5\nlerning_rate: 1", "lerning_rate is unknown"),
        ("epochs: 2", "epochs: 0", r"optim\.epochs must be at least 1"),
        ("max_tokens: 96", "max_tokens: 10", r"no pair of train\.jsonl fits max_tokens = 10; raise it"),
        ("max_tokens: 96", "max_tokens: 7", "max_tokens must be at least 8"),
        ("max_tokens: 96", "max_tokens: 513", "max_tokens is 513, but the base reads 512 at most; lower it"),
        ("attribute: politeness", 'attribute: ""', "attribute must not be empty"),
        ("attribute: politeness", "attribute: training", "attribute must be none of training, calib"),
        ("optim:", "loss:\n  flip_rate: 0.5\noptim:", r"loss\.flip_rate must be in \[0, 0\.5\)"),
        ("optim:", "loss:\n  centring: -1.0\noptim:", r"loss\.centring must be at least 0"),
        ("rank: 4", "rank: 4\n  target_modules: [nope]", r"names 'nope'; .* have down_proj, g"),
        ("test: test.jsonl", "test: valid.jsonl", r"valid\.jsonl \(record 1-0\) share a prompt"),
        ("train: train.jsonl", "train: missing.jsonl", "missing.jsonl does not exist"),
        ('base: "', 'base: "no', "is neither a folder nor an installed package"),
    ],
)
def test_a_config_that_cannot_be_used_stops_it_before_anything_is_written(
    here: Path, tiny_lm: Path, old: str, new: str, match: str
) -> None:
    check_refused(train_reward_lm, replaced(prepare(here, tiny_lm), old, new), match)


def test_a_base_that_the_service_could_not_serve_is_refused(here: Path, tiny_lm: Path) -> None:
    assert {kind for kind, family in FAMILIES.items() if family.causal} == set(SERVED)
    base = here / "base"
    GPT2LMHeadModel(GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=640)).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_lm).save_pretrained(base)
    said = r"base is a gpt2, which the service could not serve .* one of llama"
    check_refused(train_reward_lm, prepare(here, base), said)


def test_a_classifier_with_several_outputs_is_refused_before_the_data_is_read(
    here: Path, tiny_lm: Path
) -> None:
    base = here / "base"
    config = AutoConfig.from_pretrained(tiny_lm, num_labels=3)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(base)
    AutoTokenizer.from_pretrained(tiny_lm).save_pretrained(base)
    path = prepare(here, base)
    (here / "train.jsonl").write_text("{}\n", "utf-8")
    check_refused(
        train_reward_lm, path, "base is a classifier with 3 outputs, and reward-lm trains one score"
    )


def test_a_conversation_that_the_template_refuses_is_named(here: Path) -> None:
    base = build_lm(here / "base", family="gemma2")  # which takes no system turn
    config = prepare(here, base)
    lines = (here / "train.jsonl").read_text("utf-8").splitlines()
    record = json.loads(lines[2])
    record["prompt"].insert(0, {"role": "system", "content": "Be kind."})
    (here / "train.jsonl").write_text("\n".join([*lines[:2], json.dumps(record), *lines[3:]]), "utf-8")
    with pytest.raises(InvalidInput, match=r"refuses the conversation of train\.jsonl:3 \(System role"):
        train_reward_lm(config)


def test_a_clock_in_the_template_is_stopped_where_it_is_served(here: Path, tiny_lm: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_lm)
    template = str(tokenizer.chat_template)
    tokenizer.chat_template = "{{ strftime_now('%d %b %Y') }}" + template
    values = parse_yaml(prepare(here, tiny_lm).read_text("utf-8"))
    form = served_form(build_config(RewardLmConfig, values))
    encode = service_encoder(form, tokenizer)
    assert tokenizer.chat_template == "{{ '26 Jul 2024' }}" + template
    assert encode(Conversation.of("one two", "rain")) is not None
    tokenizer.chat_template = "{{ strftime_now(format) }}" + template
    with pytest.raises(InvalidInput, match="so its date cannot be fixed"):
        service_encoder(form, tokenizer)


def test_pairs_that_calibrate_nothing_leave_no_artifact(here: Path, tiny_lm: Path) -> None:
    config = prepare(here, tiny_lm)
    lines = [json.loads(x) for x in (here / "valid.jsonl").read_text("utf-8").splitlines()]
    (here / "valid.jsonl").write_text("\n".join(json.dumps(x) for i, x in enumerate(lines) if i % 5 != 4))
    with pytest.raises(GuerdonError, match="must be ordered better than chance and hold some errors"):
        train_reward_lm(config)  # it makes no error on them
    assert not (here / "artifact/manifest.json").exists()


def test_the_config_of_the_page_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = [b for b in blocks_of(DOCS / "pipeline.md") if "base: models/smollm2" in b.text]
    config = build_config(RewardLmConfig, parse_yaml(block.text))
    assert served_form(config).max_tokens == config.max_tokens
    with pytest.raises(SystemExit):
        train_command(["--help"])
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told for name in RECIPES)
    assert "\n  reward-lm  a reward model on a language model, from preference pairs" in told
