"""Which layers get adapters, and what has no tokenizer."""

import shutil
from pathlib import Path

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_training import model
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.load import load_policy, load_tokenizer

LAST = {"model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj", "model.layers.1.mlp.up_proj"}


def _adapted(base: Path, *targets: str, last_layers: int = 0) -> set[str]:
    model = load_policy(base, PolicyLora(rank=2, last_layers=last_layers, target_modules=targets), 0)
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    return {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in trained}


@pytest.mark.parametrize(
    "targets",
    [
        ("q_proj", "v_proj", "up_proj"),
        ("self_attn.q_proj", "v_proj", "layers.1.mlp.up_proj"),
        tuple(sorted(LAST)),
    ],
)
def test_a_target_is_a_name_or_the_end_of_one(tiny_lm: Path, targets: tuple[str, ...]) -> None:
    assert _adapted(tiny_lm, *targets, last_layers=1) == LAST


def test_a_whole_name_is_one_layer(tiny_lm: Path) -> None:
    assert _adapted(tiny_lm, "model.layers.0.mlp.up_proj") == {"model.layers.0.mlp.up_proj"}


@pytest.mark.parametrize(
    "target", ["", "proj", "attn.q_proj", "q_proj.weight", "layers.7.mlp.up_proj", "layers.0.mlp.up_proj"]
)
def test_a_target_that_nothing_would_train_is_refused(tiny_lm: Path, target: str) -> None:
    said = (
        f"lora.target_modules names '{target}'; the layers that train have down_proj, gate_proj, k_proj, o_"
    )
    with pytest.raises(InvalidInput, match=said):
        _adapted(tiny_lm, "v_proj", target, last_layers=1)


def test_a_layer_that_shares_its_weights_with_the_embedding_is_refused(tiny_lm: Path) -> None:
    """Merging would change both."""
    with pytest.raises(InvalidInput, match=r"names 'lm_head'; the layers that train have down_proj"):
        _adapted(tiny_lm, "v_proj", "lm_head")


def test_no_target_is_refused(tiny_lm: Path) -> None:
    with pytest.raises(InvalidInput, match=r"lora\.target_modules is empty; the base's are down_proj"):
        _adapted(tiny_lm)


def test_a_base_without_a_tokenizer_is_told_so(tiny_lm: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_lm / "config.json", tmp_path)
    for load in (load_tokenizer, model.load_tokenizer):
        with pytest.raises(InvalidInput, match="has no tokenizer"):
            load(tmp_path)
