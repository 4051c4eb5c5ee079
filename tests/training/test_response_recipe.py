"""A head on pooled responses of a frozen, shortened trunk: trained, served and used in PPO alike."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from guerdon_service.artifacts.golden import read_golden
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.conversation import Conversation
from guerdon_service.tokenization.encoder import load_encoder
from guerdon_training.config import BaseConfig
from guerdon_training.crossed import COMPLIANCE, REFUSAL
from guerdon_training.ppo.local_reward import open_local_reward
from guerdon_training.reward import train_reward
from tests.training.test_reward_recipe import CONFIG, records

CHANGES = {
    "subfolder: model": "subfolder: model\n  num_layers: 2",
    "max_tokens: 64": "max_tokens: 64\npooling: response",
    "rank: 4\n  alpha: 8\n  layers: [1, 2]": "layers: []",
    "subsets: [kept]": "subsets: [kept], crossed: annotations.jsonl",
}


def _annotation(prompt: str, response: str, label: str, subset: str) -> str:
    turns = [{"role": "user", "content": prompt}]
    row = {"prompt": turns, "response_a": response, "label": label, "subset": subset}
    return json.dumps(row | {"source": "short", "split": "train"}) + "\n"


@pytest.fixture(scope="module")
def trained(tiny_base: BaseConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("response")
    for seed, split in enumerate(("train", "valid", "test")):
        (folder / f"{split}.jsonl").write_text(records(40, seed))
    (folder / "annotations.jsonl").write_text(
        _annotation("what is one ?", "the answer is one", COMPLIANCE, "kept")
        + _annotation("what is two ?", "not the answer", REFUSAL, "contrast_kept")
        + _annotation("what is three ?", "not a answer", REFUSAL, "contrast_kept")
    )
    text = CONFIG
    for old, new in CHANGES.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / "config.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        train_reward(Path("config.yaml"))
    return folder / "artifact"


def test_it_learns_and_says_what_it_reads(trained: Path) -> None:
    artifact = read_artifact(str(trained))
    assert (artifact.manifest.pooling, artifact.manifest.num_layers) == ("response", 2)
    assert artifact.manifest.metrics["quality"]["test"]["pooled"]["accuracy"]["value"] >= 0.75
    uses = set(artifact.manifest.parents["data_sha256"])
    assert {"train", "valid", "test"} < uses and any("crossed" in use for use in uses)
    card = (trained / "MODEL_CARD.md").read_text("utf-8")
    assert "on the first 2 layers of the encoder" in card
    assert "Trained also on its judged completions of `annotations.jsonl`" in card
    assert "### When to refuse" not in card  # no test pair asks for a refusal
    with safe_open(trained / "adapter" / "adapter_model.safetensors", "pt") as weights:
        assert {name.split(".")[-2] for name in weights.keys()} == {"dense", "classifier"}  # noqa: SIM118


def test_the_service_and_ppo_give_the_score_that_training_measured(trained: Path) -> None:
    artifact = read_artifact(str(trained))
    golden = read_golden(artifact)
    encoder = load_encoder(artifact)
    backend = TorchBackend.load(artifact)
    scores, _ = backend.forward([encoder.encode(g.conversation, "golden") for g in golden])
    backend.close()
    np.testing.assert_allclose(scores, [g.raw for g in golden], atol=1e-5)
    conversations = [Conversation.of("what is good ?", text) for text in ("the answer", "very very bad")]
    local = open_local_reward(trained, "both", torch.device("cpu"))
    raw = TorchBackend.load(artifact).forward([encoder.encode(c, "x") for c in conversations])[0]
    norms = [head.norm for head in artifact.manifest.heads]
    expected = [sum(0.5 * (x - n.mean) / n.std for x, n in zip(row, norms, strict=True)) for row in raw]
    np.testing.assert_allclose(np.array(local.score(conversations), dtype=float), expected, atol=1e-4)
