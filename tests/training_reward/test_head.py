"""A new attribute on the features of a served model."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_service.core.statistics.calibration_fit import calibrated_log_loss, fit_slope
from guerdon_training.cli import train_command
from guerdon_training.data import read_pairs
from guerdon_training.encode import PairTokens
from guerdon_training.environment import environment
from guerdon_training.forward import collate
from guerdon_training.head import PENALTIES
from guerdon_training.last_layer import ADAPTER, PREFIX
from guerdon_training.newton import fit_differences
from guerdon_training.pair_features import features_of, split_features, with_sure_signs
from guerdon_training.pooled import Pooled
from guerdon_training.ppo.local_reward import open_local_reward
from guerdon_training.trunk import SplitEncoder
from tests.training_reward.test_recipe import BAD, GOOD

SPLITS = {split: f"{split}.jsonl" for split in ("train", "valid", "test")}


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
        "data": SPLITS,
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
    graph = folder / "adapted" / "onnx" / "model.onnx"  # as an earlier run's export leaves it
    graph.parent.mkdir(parents=True)
    graph.touch()
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
    assert set(environment()) <= set(manifest.parents["head"])
    assert manifest.metrics["brand"]["test"]["pooled"]["accuracy"]["value"] >= 0.75
    _, told = (adapted / "MODEL_CARD.md").read_text("utf-8").split("## The head brand")
    assert manifest.calibration is not None and manifest.calibration.num_pairs < 100
    assert f"Not sure: calibrated on {manifest.calibration.num_pairs} pairs alone" in told
    assert not (adapted / "onnx").exists()  # the graph of other heads


def test_norm_and_temperature_of_the_head_are_those_of_the_valid_pairs(
    adapted: Path, trained: Path, manifest: Manifest
) -> None:
    reward = open_local_reward(trained, None, torch.device("cpu"))
    pairs = {split: read_pairs(trained.parent / f"swapped_{split}.jsonl") for split in SPLITS}
    weights = load_file(adapted / ADAPTER)[f"{PREFIX}weight"][-1].numpy().astype(np.float64)
    scores = {
        split: f.features @ weights for split, f in zip(pairs, split_features(reward, pairs), strict=True)
    }
    norm, valid = manifest.heads[-1].norm, scores["valid"]
    assert (norm.mean, norm.std) == pytest.approx((valid.mean(), valid.std()), rel=1e-5)
    for other in ("train", "test"):
        assert (norm.mean, norm.std) != pytest.approx((scores[other].mean(), scores[other].std()), rel=1e-3)
    clusters = [p.cluster for p in pairs["valid"]]
    margins = (valid[:, 0] - valid[:, 1]) / norm.std
    assert manifest.calibration is not None
    slope = manifest.calibration.slope
    assert slope == pytest.approx(fit_slope(margins, clusters).slope, rel=1e-4)
    wrong = 1.0 / (1.0 + np.exp(slope * (scores["test"][:, 0] - scores["test"][:, 1]) / norm.std))
    told = manifest.metrics["calibration"]["test"]["brier"]["value"]
    assert told == pytest.approx((wrong**2).mean(), rel=1e-6), "that of the old slope is near"


def test_a_pair_that_does_not_fit_is_refused_and_counts_one_half(trained: Path) -> None:
    folder = trained.parent
    lines = (folder / "test.jsonl").read_text("utf-8").splitlines()
    long = json.loads(lines[0]) | {"chosen": "good " * 99}
    (folder / "refused.jsonl").write_text("\n".join([json.dumps(long), *lines[1:]]), "utf-8")
    artifact = _run(folder, _values(output="half", data=SPLITS | {"test": "refused.jsonl"}))
    figures = json.loads((artifact / "manifest.json").read_text("utf-8"))["metrics"]["brand"]["test"][
        "pooled"
    ]
    assert (figures["num_refused"], figures["num_pairs"]) == (1, len(lines))


def test_the_new_head_has_its_own_opinion_and_the_old_ones_keep_theirs(adapted: Path, trained: Path) -> None:
    device = torch.device("cpu")
    good, bad = open_local_reward(adapted, None, device).score([GOOD, BAD])
    assert good is not None and bad is not None and bad > good
    before = open_local_reward(trained, "only", device).score([GOOD, BAD])
    assert open_local_reward(adapted, "only", device).score([GOOD, BAD]) == pytest.approx(before, abs=1e-5)


def test_a_model_that_reads_nothing_finite_is_refused(trained: Path) -> None:
    reward = open_local_reward(trained, None, torch.device("cpu"))
    torch.nn.init.constant_(next(reward.model.parameters()), float("nan"))
    pairs = {"valid": read_pairs(trained.parent / "valid.jsonl")}
    with pytest.raises(InvalidInput, match="of a response is not finite; give another artifact") as refused:
        split_features(reward, pairs)
    assert refused.value.param == "artifact"


def test_the_head_is_the_optimum_on_float32_features(adapted: Path, trained: Path) -> None:
    """An oracle from the whole float32 model, conversation by conversation, and scipy's L-BFGS."""
    folder, reward = trained.parent, open_local_reward(trained, None, torch.device("cpu"))
    plain = Pooled(reward.model, reward.manifest.pooling)
    read: list[np.ndarray[Any, Any]] = []
    reward.model.classifier.register_forward_pre_hook(lambda _, inputs: read.append(inputs[0].numpy()[0]))

    def differences(split: str) -> np.ndarray[Any, Any]:
        read.clear()
        for pair in read_pairs(folder / f"swapped_{split}.jsonl"):
            for text in (pair.chosen, pair.rejected):
                tokens = reward.encode(Conversation(pair.prompt, text))
                assert tokens is not None
                plain(**collate([tokens], 0))
        features = np.stack(read).astype(np.float64).reshape(-1, 2, read[0].shape[0])
        found: np.ndarray[Any, Any] = features[:, 0] - features[:, 1]
        return found

    with torch.no_grad():
        train, valid, test = map(differences, ("train", "valid", "test"))

    def loss(w: np.ndarray[Any, Any], l2: float) -> float:
        return float(np.logaddexp(0.0, -train @ w).mean() + l2 / 2 * w @ w)

    tried = [
        minimize(loss, np.zeros(train.shape[1]), (l2,), "L-BFGS-B", options={"maxiter": 500}).x
        for l2 in PENALTIES
    ]
    best = min(tried, key=lambda w: calibrated_log_loss(valid @ w))
    ours = load_file(adapted / ADAPTER)[f"{PREFIX}weight"][-1].numpy().astype(np.float64)
    assert np.linalg.norm(ours - best) < 0.03 * np.linalg.norm(best)
    figures = json.loads((adapted / "manifest.json").read_text("utf-8"))["metrics"]["brand"]["test"]["pooled"]
    assert figures["accuracy"]["value"] == pytest.approx(((np.sign(test @ best) + 1) / 2).mean())


def test_each_conversation_is_computed_once_whatever_pairs_it_is_in(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rounded = trained.parent, list[PairTokens]()
    whole = SplitEncoder.all_features

    def counted(self: SplitEncoder, tokens: Sequence[PairTokens], budget: int, label: str) -> torch.Tensor:
        if self.dtype == torch.bfloat16:
            rounded.extend(tokens)
        return whole(self, tokens, budget, label)

    monkeypatch.setattr(SplitEncoder, "all_features", counted)
    answers = [f"the answer is {word}" for word in ("good", "bad", "one", "two")]
    ranking = {"prompt": [{"role": "user", "content": "one"}], "responses": answers, "ranks": [1, 2, 3, 4]}
    (folder / "ranked.jsonl").write_text(json.dumps(ranking), "utf-8")
    data = {"train": "ranked.jsonl", "valid": "valid.jsonl", "test": "test.jsonl"}
    _run(folder, _values(output="once", data=data))
    reward = open_local_reward(trained, None, torch.device("cpu"))
    pairs = [p for name in set(data.values()) for p in read_pairs(folder / name)]
    texts = {(p.prompt, t) for p in pairs for t in (p.chosen, p.rejected)}
    assert Counter(rounded) == Counter({reward.encode(Conversation(*text)) for text in texts})


def test_kept_features_give_the_same_head_and_another_one_without_the_trunk(
    adapted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rounded = adapted.parent, list[PairTokens]()
    whole = SplitEncoder.all_features

    def counted(self: SplitEncoder, tokens: Sequence[PairTokens], budget: int, label: str) -> torch.Tensor:
        rounded.extend(tokens if self.dtype == torch.bfloat16 else [])
        return whole(self, tokens, budget, label)

    monkeypatch.setattr(SplitEncoder, "all_features", counted)
    swapped = {split: f"swapped_{split}.jsonl" for split in SPLITS}
    first = _run(folder, _values(output="kept", data=swapped, features="features"))
    assert load_file(first / ADAPTER)[f"{PREFIX}weight"].equal(
        load_file(adapted / ADAPTER)[f"{PREFIX}weight"]
    )
    assert rounded
    rounded.clear()
    _run(
        folder, _values(output="other", attribute="tone", features="features")
    )  # chosen is what was rejected
    assert not rounded


def test_a_pair_that_rounding_could_turn_is_judged_in_float32(trained: Path) -> None:
    """The last bits of bfloat16 are wrong here for every margin; what is small is exact afterwards."""
    reward = open_local_reward(trained, None, torch.device("cpu"))
    split = split_features(reward, {"test": read_pairs(trained.parent / "test.jsonl")})[0]
    exact = features_of(reward, split.tokens, torch.float32)
    margins = split.differences @ np.ones(exact.shape[2])
    surest = int(np.abs(margins).argmax())
    weights = np.ones(exact.shape[2])
    shifted = replace(split, features=split.features * 1e-3)
    shifted.features[surest] = split.features[surest]  # all others are in doubt beside this one
    sure = with_sure_signs(reward, shifted, weights).features
    others = np.arange(len(exact)) != surest
    np.testing.assert_allclose(sure[others], exact[others], atol=1e-6)
    np.testing.assert_array_equal(sure[surest], split.features[surest])


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
        ({"attribute": ""}, "attribute must not be empty"),
        ({"attribute": "calibration"}, "attribute must be none of calibration, directions"),
        ({"output": "artifact"}, "output must be another folder than artifact"),
        ({"output": "artifact/more"}, "output must be another folder than artifact, and not within it"),
        ({"l2": [0.0]}, "l2 must hold values above 0"),
        ({"num_threads": 0}, "num_threads must be at least 1"),
        ({"data": SPLITS | {"test": "valid.jsonl"}}, r"valid\.jsonl \(record 0\) share a prompt"),
        ({"data": SPLITS | {"train": "one_class.jsonl"}}, "prefer one and the same text to one other"),
        ({"data": SPLITS | {"train": "long.jsonl"}}, r"no pair of data\.train fits the model's 64 tokens"),
        (
            {"data": SPLITS | {"valid": "mostly_long.jsonl"}},
            r"mostly_long\.jsonl has 3 usable pairs of 3 prompts",
        ),
        ({"artifact": "none"}, r"none holds no manifest\.json"),
        ({"artifact": "none", "data": SPLITS | {"test": "nowhere.jsonl"}}, r"nowhere\.jsonl does not exist"),
    ],
)
def test_what_cannot_be_adapted_is_named(trained: Path, changes: dict[str, Any], message: str) -> None:
    for name, text in (("one_class", "the answer is good"), ("long", "good " * 99)):
        prompts = [[{"role": "user", "content": word}] for word in ("one", "two")]
        lines = [json.dumps({"prompt": p, "chosen": text, "rejected": "bad"}) for p in prompts]
        (trained.parent / f"{name}.jsonl").write_text("\n".join(lines[: 1 + (name == "one_class")]), "utf-8")
    valid = [json.loads(line) for line in (trained.parent / "valid.jsonl").read_text("utf-8").splitlines()]
    few = [row | ({"chosen": "good " * 99} if i > 2 else {}) for i, row in enumerate(valid)]
    (trained.parent / "mostly_long.jsonl").write_text("\n".join(map(json.dumps, few)), "utf-8")
    with pytest.raises(InvalidInput, match=message):
        _run(trained.parent, _values(output="unwritten") | changes)
    assert not (trained.parent / "unwritten").exists()
