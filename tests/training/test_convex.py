"""The heads of a frozen trunk at their optimum: what scikit-learn finds, and what is served."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression

from guerdon_service.artifacts.golden import read_golden
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.errors import InvalidInput
from guerdon_service.tokenization.encoder import load_encoder
from guerdon_training.config import BaseConfig, RewardConfig
from guerdon_training.config_file import read_config
from guerdon_training.data import read_pairs
from guerdon_training.model import base_folder, build_model, load_tokenizer
from guerdon_training.reward import train_reward
from guerdon_training.rows import build_rows
from guerdon_training.tagging import tag
from guerdon_training.trunk import SplitEncoder
from tests.training.test_reward_recipe import CONFIG, records

L2 = 0.01


@pytest.fixture(scope="module")
def folder(tiny_base: BaseConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a config with `optim.l2`, and the artifact that it made."""
    path = tmp_path_factory.mktemp("convex")
    for seed, split in enumerate(("train", "valid", "test")):
        (path / f"{split}.jsonl").write_text(records(40, seed))
    text = CONFIG.replace("rank: 4\n  alpha: 8\n  layers: [1, 2]", "layers: []")
    text = text.split("optim:")[0] + f"pooling: response\noptim:\n  l2: {L2}\n  num_threads: 1\n"
    (path / "config.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        train_reward(Path("config.yaml"))
    return path


@pytest.fixture(scope="module")
def head(folder: Path) -> np.ndarray:
    """The served classifier's weights [H, D]."""
    tensors = load_file(folder / "artifact" / "adapter" / "adapter_model.safetensors")
    assert not tensors["base_model.model.classifier.bias"].any()
    return tensors["base_model.model.classifier.weight"].numpy().astype(np.float64)


def test_each_head_is_the_logistic_regression_of_another_library(folder: Path, head: np.ndarray) -> None:
    config = read_config(folder / "config.yaml", RewardConfig)
    base = base_folder(config.base)
    model = build_model(base, config.base.package, 2, config.lora, 0, pooling="response").eval()
    tokenizer = load_tokenizer(base)
    rows = build_rows(
        tag(read_pairs(folder / "train.jsonl"), config.heads, trained=True), tokenizer, config.max_tokens
    )
    encoder = SplitEncoder(model.get_base_model(), None, tokenizer.pad_token_id, pooling="response")
    with torch.inference_mode():
        features = encoder.features(encoder.lower(rows.tokens, 4096, "test")).numpy().astype(np.float64)
    scale = 1 / ((features.std(0) + 1e-6) * np.sqrt(features.shape[1]))
    for number in range(2):
        own = [c for c in rows.comparisons if c.head == number]
        d = (features[[c.chosen for c in own]] - features[[c.rejected for c in own]]) * scale
        both, labels = np.concatenate([d, -d]), np.repeat([1, 0], len(d))  # both orders: two classes
        oracle = LogisticRegression(C=1 / (L2 * len(both)), fit_intercept=False, tol=1e-10, max_iter=10_000)
        np.testing.assert_allclose(head[number], oracle.fit(both, labels).coef_[0] * scale, atol=1e-4)
        assert np.abs(head[number]).max() > 0.05


def test_it_learns_and_is_served_as_it_was_measured(folder: Path) -> None:
    artifact = read_artifact(str(folder / "artifact"))
    for name in ("quality", "brevity"):
        assert artifact.manifest.metrics[name]["test"]["pooled"]["accuracy"]["value"] >= 0.75
    golden, encoder = read_golden(artifact), load_encoder(artifact)
    backend = TorchBackend.load(artifact)
    scores, _ = backend.forward([encoder.encode(g.conversation, "golden") for g in golden])
    backend.close()
    np.testing.assert_allclose(scores, [g.raw for g in golden], atol=1e-5)
    card = (folder / "artifact" / "MODEL_CARD.md").read_text("utf-8")
    assert f"its one minimum with an L2 penalty of {L2:g}" in card
    assert "train/log_loss/quality" in (folder / "artifact" / "metrics.jsonl").read_text("utf-8")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("optim.l2=-1.0", "optim.l2"),
        ("lora.layers=[2]", "lora.layers"),
        ("pooling=model", "pooling"),
        ("optim.flip_rate=0.1", "objective"),
        ("ensemble.runs=2", "objective"),
    ],
)
def test_what_it_would_ignore_is_refused(
    folder: Path, change: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InvalidInput) as refused:
        train_reward(Path("config.yaml"), [change])
    assert refused.value.param == key
