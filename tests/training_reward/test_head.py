"""A new attribute on the features of a served model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.linear_model import LogisticRegression

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_training.cli import train_command
from guerdon_training.newton import fit_differences
from guerdon_training.ppo.local_reward import open_local_reward
from tests.training_reward.test_recipe import BAD, GOOD


def test_the_fit_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    differences = generator.normal(size=(200, 5))
    differences[generator.random(200) < 0.3] *= -1
    differences += np.array([0.5, -0.2, 0.0, 0.1, 0.0])
    l2 = 0.05
    ours = fit_differences(differences, l2)
    both = np.concatenate([differences, -differences])
    labels = np.repeat([1, 0], 200)
    theirs = LogisticRegression(C=1 / (400 * l2), fit_intercept=False, tol=1e-10, max_iter=1000)
    np.testing.assert_allclose(ours, theirs.fit(both, labels).coef_[0], atol=1e-5)


def _values(**changes: Any) -> dict[str, Any]:
    plain = {
        "artifact": "artifact",
        "version": "2",
        "output": "adapted",
        "attribute": "brand",
        "data": {split: f"{split}.jsonl" for split in ("train", "valid", "test")},
        "num_threads": 1,
    }
    return plain | changes


def _run(folder: Path, values: dict[str, Any]) -> Path:
    (folder / "head.yaml").write_text(yaml.safe_dump(values), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_command(["head", "head.yaml"]) == 0
    return folder / str(values["output"])


@pytest.fixture(scope="module")
def adapted(trained: Path) -> Path:
    """The trained artifact with a head that likes what it dislikes."""
    folder = trained.parent
    for split in ("train", "valid", "test"):
        records = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text("utf-8").splitlines()]
        swapped = [r | {"chosen": r["rejected"], "rejected": r["chosen"], "votes": None} for r in records]
        (folder / f"swapped_{split}.jsonl").write_text("\n".join(map(json.dumps, swapped)), "utf-8")
    data = {split: f"swapped_{split}.jsonl" for split in ("train", "valid", "test")}
    return _run(folder, _values(data=data))


@pytest.fixture(scope="module")
def manifest(adapted: Path) -> Manifest:
    return from_json((adapted / "manifest.json").read_text("utf-8"))


def test_it_is_a_version_with_a_head_more(adapted: Path, trained: Path, manifest: Manifest) -> None:
    old = from_json((trained / "manifest.json").read_text("utf-8"))
    assert (manifest.name, manifest.version) == (old.name, "2")
    assert [h.name for h in manifest.heads] == ["quality/0", "quality/1", "brand"]
    assert manifest.heads[:2] == old.heads
    assert manifest.profile(None)[0] == "brand" and "only" in manifest.profiles
    assert manifest.parents["head"]["artifact"]["digest"] == old.digest
    assert set(manifest.parents["head"]["data_sha256"]) == {"train", "valid", "test"}
    assert manifest.metrics["brand"]["test"]["pooled"]["accuracy"]["value"] >= 0.75
    assert "## The head brand" in (adapted / "MODEL_CARD.md").read_text("utf-8")


def test_the_new_head_has_its_own_opinion_and_the_old_ones_keep_theirs(adapted: Path, trained: Path) -> None:
    device = torch.device("cpu")
    good, bad = open_local_reward(adapted, None, device).score([GOOD, BAD])
    assert good is not None and bad is not None and bad > good
    before = open_local_reward(trained, "only", device).score([GOOD, BAD])
    assert open_local_reward(adapted, "only", device).score([GOOD, BAD]) == pytest.approx(before, abs=1e-5)


def test_a_second_head_keeps_what_the_first_one_was_made_from(adapted: Path, manifest: Manifest) -> None:
    second = _run(adapted.parent, _values(artifact="adapted", output="twice", attribute="tone", version="3"))
    parents = from_json((second / "manifest.json").read_text("utf-8")).parents
    assert parents["head"]["attribute"] == "tone" and parents["head"]["head"] == manifest.parents["head"]


def test_the_service_certifies_the_new_version(adapted: Path) -> None:
    loaded = load_model(ModelSpec("tiny", str(adapted), "torch", "float32", "cpu"))
    assert loaded.certificate.passed and loaded.backend.num_heads == 3
    loaded.backend.close()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attribute": "quality"}, "attribute quality is already in tiny"),
        ({"output": "artifact"}, "output must be another folder than artifact"),
        ({"l2": [0.0]}, "l2 must hold values above 0"),
        ({"artifact": "none"}, r"none holds no manifest\.json"),
    ],
)
def test_what_cannot_be_adapted_is_named(trained: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        _run(trained.parent, _values(output="unwritten") | changes)
    assert not (trained.parent / "unwritten").exists()
