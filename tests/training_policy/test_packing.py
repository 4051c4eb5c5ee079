"""A base whose examples see each other in a row, or that drops out in training, is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, OPTConfig, OPTForCausalLM

from guerdon_service.core.errors import InvalidInput
from guerdon_training.dpo import train_dpo
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.load import load_policy
from guerdon_training.policy.packing import check_packing
from guerdon_training.ppo.models import build_networks
from guerdon_training.sft import train_sft
from tests.tiny import MAX_POSITIONS, VOCAB_SIZE
from tests.training_policy.runs import check_refused, prepare_dpo, prepare_sft
from tests.training_policy.tiny_lm import build_lm
from tests.training_ppo.jobs import config_of

PACKED = r"depend on what is packed before it: .* give a base whose attention does"


def build_opt(folder: Path, tokenizer: Path) -> Path:
    """Two layers of OPT, which takes position ids and masks attention by none of them."""
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        word_embed_proj_dim=32,
        ffn_dim=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=MAX_POSITIONS,
        init_std=0.2,
    )
    OPTForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def opt(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_opt(tmp_path_factory.mktemp("opt") / "opt", tiny_lm)


def test_examples_that_see_each_other_are_refused_by_sft(opt: Path, here: Path) -> None:
    check_refused(train_sft, prepare_sft(here, opt, tables=""), PACKED)


def test_examples_that_see_each_other_are_refused_by_dpo(opt: Path, here: Path) -> None:
    check_refused(train_dpo, prepare_dpo(here, opt, tables=""), PACKED)


def test_examples_that_see_each_other_are_refused_by_ppo(opt: Path) -> None:
    with pytest.raises(InvalidInput, match=PACKED) as caught:
        build_networks(config_of(opt))
    assert caught.value.param == "base"


class Noisy(torch.nn.Module):
    """A model with dropout that is no module."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model, self.config = model, model.config

    def forward(self, **inputs: Any) -> Any:
        """Logits, a tenth of them dropped in training."""
        found = self.model(**inputs)
        found.logits = torch.nn.functional.dropout(found.logits, 0.1, self.training)
        return found


def test_dropout_that_is_no_module_is_refused(tiny_lm: Path) -> None:
    noisy = Noisy(load_policy(tiny_lm, PolicyLora(), 0)).eval()
    with pytest.raises(InvalidInput, match=r"others in training, by dropout") as caught:
        check_packing(noisy)
    assert caught.value.param == "base"


@pytest.mark.parametrize("lora", [PolicyLora(), PolicyLora(rank=4, alpha=8)])
def test_a_sound_base_is_left_as_it_was(tmp_path: Path, lora: PolicyLora) -> None:
    model = load_policy(build_lm(tmp_path / "lm", dropout=0.5), lora, 0)
    state, before = torch.get_rng_state(), {name: p.clone() for name, p in model.state_dict().items()}
    check_packing(model)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(p, before[name]) for name, p in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_a_process_without_the_weights_leaves_it_to_the_one_that_has_them(tiny_lm: Path) -> None:
    check_packing(load_policy(tiny_lm, PolicyLora(), 0).to("meta"))
