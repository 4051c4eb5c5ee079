"""Every slope that training fits, and every loss by which it chooses, is of shares of votes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from guerdon_service.core.conversation import Message
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_service.core.statistics.calibration_fit import calibrated_log_loss, fit_slope
from guerdon_training.cli import train_command
from guerdon_training.config import BaseConfig
from guerdon_training.data import PreferencePair, read_pairs
from guerdon_training.last_layer import ADAPTER, PREFIX
from guerdon_training.measure import read_scores
from guerdon_training.pair_features import split_features
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.load import load_tokenizer
from guerdon_training.policy.pairs import ExamplePair
from guerdon_training.policy.reward_model import load_reward_lm
from guerdon_training.policy.scored_pairs import encode_pair, pair_scores
from guerdon_training.ppo.local_reward import open_local_reward
from guerdon_training.ppo.reward_text import encoder_of
from guerdon_training.reward_lm import evaluate
from guerdon_training.tagging import Tagged
from tests.training_policy.conftest import tiny_lm
from tests.training_reward.runs import config, train, write_pairs

__all__ = ["tiny_lm"]
VOTES = ({"chosen": 2, "rejected": 1}, {"chosen": 3, "tie": 1}, None)


@pytest.fixture(scope="module")
def artifact(tiny_base: BaseConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch; people disagree on two of three valid pairs."""
    folder = tmp_path_factory.mktemp("voted")
    write_pairs(folder)
    path = folder / "valid.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    voted = [r | {"votes": VOTES[i % 3]} for i, r in enumerate(records)]
    path.write_text("\n".join(map(json.dumps, voted)), "utf-8")
    values = config(tiny_base)
    return train(folder, values | {"optim": values["optim"] | {"epochs": 1}})


def _valid(artifact: Path) -> list[PreferencePair]:
    return list(read_pairs(artifact.parent / "valid.jsonl"))


def test_the_recipe_calibrates_and_chooses_by_shares(artifact: Path) -> None:
    pairs, manifest = _valid(artifact), from_json((artifact / "manifest.json").read_text("utf-8"))
    shares = [p.share for p in pairs]
    assert sorted(set(shares)) == [2 / 3, 0.875, 1.0]
    scored = read_scores(artifact / "scores.jsonl", "valid", [Tagged(p, 0) for p in pairs])
    margins = np.array([s.raw[0, 0] - s.raw[1, 0] for s in scored if s.raw is not None])
    clusters = [p.cluster for p in pairs]
    slope = fit_slope(margins / manifest.heads[0].norm.std, clusters, shares)
    assert manifest.calibration.slope == pytest.approx(slope.slope, rel=1e-6)
    lines = [json.loads(line) for line in (artifact / "metrics.jsonl").read_text("utf-8").splitlines()]
    loss = next(x["valid/log_loss/quality"] for x in lines if "valid/log_loss/quality" in x)
    assert loss == pytest.approx(calibrated_log_loss(margins, shares), abs=3e-3), "frozen layers are in bf16"
    assert loss != pytest.approx(calibrated_log_loss(margins), abs=3e-2)


def test_a_head_is_calibrated_and_its_penalty_chosen_by_shares(artifact: Path) -> None:
    folder = artifact.parent
    values = {
        "artifact": "artifact",
        "version": "2",
        "output": "more",
        "attribute": "brand",
        "num_threads": 1,
    }
    values |= {"data": {split: f"{split}.jsonl" for split in ("train", "valid", "test")}}
    (folder / "head.yaml").write_text(yaml.safe_dump(values), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_command(["head", "head.yaml"]) == 0
    manifest = from_json((folder / "more/manifest.json").read_text("utf-8"))
    reward, pairs = open_local_reward(artifact, None, torch.device("cpu")), _valid(artifact)
    weights = load_file(folder / "more" / ADAPTER)[f"{PREFIX}weight"][-1].numpy().astype(np.float64)
    (features,) = split_features(reward, {"valid": pairs})
    margins = features.differences @ weights / manifest.heads[-1].norm.std
    slope = fit_slope(margins, [p.cluster for p in pairs], [p.share for p in pairs])
    assert manifest.calibration.slope == pytest.approx(slope.slope, rel=1e-4)


def test_the_loss_of_an_epoch_of_a_language_model_is_of_shares(tiny_lm: Path) -> None:
    encode = encoder_of(Manifest("x", "1", (), {}, 96), load_tokenizer(tiny_lm))
    prompt = (Message("user", "why river"),)
    texts = [(f"rain {'autumn ' * n}", f"{'leaves ' * n}one") for n in range(1, 7)]
    encoded = [encode_pair(encode, PreferencePair(c, prompt, c, r, "", "")) for c, r in texts]
    model = load_reward_lm(tiny_lm, PolicyLora(), 0)
    pairs = [
        pair if float(chosen) > float(rejected) else ExamplePair(pair.rejected, pair.chosen)
        for pair in encoded
        if pair is not None
        for chosen, rejected in pair_scores(model, [pair], 300)
    ]
    shares = [1.0, 2 / 3, 0.75, 1.0, 0.6, 2 / 3]
    chosen, rejected = pair_scores(model, pairs, 300).double().numpy().T
    found = evaluate(model, pairs, shares, 300)["loss"]
    assert found == pytest.approx(calibrated_log_loss(chosen - rejected, shares), abs=1e-9)
    assert found > 0.3, "labels of one person, all ordered right, would cost nothing"
