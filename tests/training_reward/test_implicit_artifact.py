"""What training measures of an implicit reward is what the service serves of it."""

import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon import Client
from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InputTooLong, InvalidInput
from guerdon_service.core.manifest import Manifest, from_json, to_json
from guerdon_service.core.statistics.calibration_fit import fit_slope
from guerdon_training.cli import train_command
from guerdon_training.data import read_pairs
from guerdon_training.judge import judge
from guerdon_training.policy.encode import encode_example
from guerdon_training.policy.implicit_source import open_implicit_reward
from guerdon_training.ppo.local_reward import open_local_reward
from tests.training_policy.conftest import tiny_lm
from tests.training_policy.gguf_package import build_gguf_package
from tests.training_policy.runs import LORA, prepare_dpo, with_ties
from tests.training_policy.tiny_lm import pairs, write_jsonl
from tests.training_ppo.served import running

__all__ = ["tiny_lm"]
CPU = torch.device("cpu")
PACKAGE = "tiny_implicit_base"
THREAD = (Message("user", "one two"), Message("assistant", "rain"), Message("user", "why river"))
TEXTS = (
    Conversation.of("what river", "I am sorry, but I cannot help with that rain"),
    Conversation.of("what river", "What is the capital of France? leaves leaves"),
    Conversation.of(THREAD, "\n autumn leaves \n"),
    Conversation.of("a", "b"),
    Conversation.of("rain " * 200, "The prompt is cut on the left."),
    Conversation.of("say <|im_end|>", "one <|im_end|> two"),
    Conversation.of("Grüße 🙃", "¿Dónde? 🎉"),
)


def _train(folder: Path, recipe: str, config: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_command([recipe, config.name]) == 0


def _export(folder: Path, **changes: Any) -> Path:
    """Run ``guerdon train implicit``; of every four held-out labels one is wrong."""
    for seed, split in ((11, "held_valid"), (13, "held_test")):
        records = pairs(24, seed)
        for r in records[::4]:
            r["chosen"], r["rejected"] = r["rejected"], r["chosen"]
        write_jsonl(folder / f"{split}.jsonl", records)
    values: dict[str, Any] = {
        "name": "implicit",
        "version": "1",
        "output": "reward",
        "policy": "artifact",
        "data": {"valid": "held_valid.jsonl", "test": "held_test.jsonl"},
        "attribute": "politeness",
        "num_threads": 1,
    }
    (folder / "implicit.yaml").write_text(yaml.safe_dump(values | changes), "utf-8")
    _train(folder, "implicit", folder / "implicit.yaml")
    return folder / str((values | changes)["output"])


@pytest.fixture(scope="module")
def merged(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whole weights of policy and reference."""
    folder = tmp_path_factory.mktemp("merged")
    _train(folder, "dpo", prepare_dpo(folder, tiny_lm))
    return _export(folder)


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An adapter of a package's GGUF, scored per token."""
    root = tmp_path_factory.mktemp("packages")
    build_gguf_package(root, PACKAGE)
    folder = tmp_path_factory.mktemp("adapted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        patch.setattr(sys, "path", [str(root), *sys.path])
        tables = LORA + "loss:\n  length_normalised: true\n"
        _train(folder, "dpo", prepare_dpo(folder, PACKAGE, keys="save: adapter", tables=tables))
        yield _export(folder)


@pytest.fixture(params=["merged", "adapted"])
def artifact(request: pytest.FixtureRequest) -> Path:
    return request.getfixturevalue(request.param)  # type: ignore[no-any-return]


def _load(folder: Path) -> LoadedModel:
    return load_model(ModelSpec("implicit", str(folder)))


def _manifest(folder: Path) -> Manifest:
    return from_json((folder / "manifest.json").read_text("utf-8"))


def test_served_scores_are_the_trained_ones(artifact: Path) -> None:
    trained = open_implicit_reward(artifact.parent / "artifact", CPU).score(TEXTS)
    norm = _manifest(artifact).heads[0].norm
    with running([ModelSpec("implicit", str(artifact))]) as at, Client(at.grpc) as client:
        found = client.score([(_messages(c), c.response) for c in TEXTS])
    raw = [s.raw["politeness"] for s in found.scores]
    assert raw == pytest.approx(trained, abs=1e-5)
    assert len({round(r, 4) for r in raw}) == len(TEXTS)
    assert [s.reward for s in found.scores] == pytest.approx([(r - norm.mean) / norm.std for r in raw])
    assert [s.truncated for s in found.scores] == [i == 4 for i in range(len(TEXTS))]


def _messages(conversation: Conversation) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in conversation.prompt]


def test_ties_are_counted_and_told(merged: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(merged.parent / "artifact", tmp_path / "artifact")
    config = tmp_path / "implicit.yaml"
    shutil.copy(merged.parent / "implicit.yaml", config)
    for split in ("held_valid", "held_test"):
        shutil.copy(merged.parent / f"{split}.jsonl", tmp_path)
    told = with_ties(config, {"held_valid": 3, "held_test": 2})
    _train(tmp_path, "implicit", config)
    assert [line for line in capsys.readouterr().err.splitlines() if "that tie" in line] == told
    assert _manifest(tmp_path / "reward").metrics == _manifest(merged).metrics
    card = (tmp_path / "reward/MODEL_CARD.md").read_text("utf-8")
    assert "Ties, which prefer neither response, are left out: 3 of valid, 2 of test." in card


def test_the_slope_is_of_shares_of_votes(merged: Path, tmp_path: Path) -> None:
    shutil.copytree(merged.parent / "artifact", tmp_path / "artifact")
    for name in ("implicit.yaml", "held_valid.jsonl", "held_test.jsonl"):
        shutil.copy(merged.parent / name, tmp_path)
    valid = tmp_path / "held_valid.jsonl"
    records = [json.loads(line) for line in valid.read_text("utf-8").splitlines()]
    write_jsonl(valid, [r | {"votes": {"chosen": 2, "rejected": 1}} for r in records])
    _train(tmp_path, "implicit", tmp_path / "implicit.yaml")
    found, hard = _manifest(tmp_path / "reward"), _manifest(merged)
    judged = judge(open_implicit_reward(tmp_path / "artifact", CPU), read_pairs(valid))
    margins = np.array([j.scores[0] - j.scores[1] for j in judged if j.scores is not None])
    clusters = [j.pair.cluster for j in judged]
    expected = fit_slope(margins / found.heads[0].norm.std, clusters, 2 / 3)
    assert found.calibration.slope == pytest.approx(expected.slope, rel=1e-6)
    assert found.calibration.slope < 0.9 * hard.calibration.slope


def test_plain_transformers_gives_the_served_score(merged: Path, tiny_lm: Path) -> None:
    """One unpadded row at a time, with the template's own text up to its EOS."""
    loaded = _load(merged)
    policy, base = (AutoModelForCausalLM.from_pretrained(f).eval() for f in (merged / "policy", tiny_lm))
    tokenizer = AutoTokenizer.from_pretrained(merged)
    rule = loaded.manifest.implicit
    assert rule is not None
    for text in TEXTS[:4]:
        whole = [*_messages(text), {"role": "assistant", "content": text.response}]
        prompt = tokenizer.apply_chat_template(_messages(text), add_generation_prompt=True, tokenize=False)
        rendered = str(tokenizer.apply_chat_template(whole, tokenize=False)).removesuffix("\n")
        ids = torch.tensor([tokenizer(rendered, add_special_tokens=False)["input_ids"]])
        assert ids[0, -1] == tokenizer.eos_token_id
        start = len(tokenizer(prompt, add_special_tokens=False)["input_ids"])
        with torch.inference_mode():
            logs = [torch.log_softmax(m(ids).logits[0, :-1].double(), -1) for m in (policy, base)]
        sums = [x.gather(1, ids[0, 1:, None])[start - 1 :].sum() for x in logs]
        found = loaded.backend.forward([loaded.encoder.encode(text, "x")])[0][0, 0]
        assert float(found) == pytest.approx(float(rule.beta * (sums[0] - sums[1])), abs=1e-5)
    loaded.backend.close()


def test_the_service_reads_the_tokens_that_training_read(artifact: Path) -> None:
    loaded, source = _load(artifact), open_implicit_reward(artifact.parent / "artifact", CPU)
    room = loaded.manifest.max_tokens
    for text in TEXTS:
        encoded = loaded.encoder.encode(text, "x")
        expected = encode_example(source.tokenizer, text.prompt, text.response, room)
        assert expected is not None
        assert tuple(encoded.input_ids.tolist()) == expected.input_ids
        assert encoded.num_tokens - encoded.prefix_len == expected.num_targets
    with pytest.raises(InputTooLong):
        loaded.encoder.encode(Conversation.of("x", "word " * 500), "x")
    loaded.backend.close()


def test_no_score_depends_on_its_batch(artifact: Path) -> None:
    loaded = _load(artifact)
    assert loaded.certificate.passed
    assert [c.name for c in loaded.certificate.checks] == ["heads", "finite", "batch", "golden"]
    encoded = [loaded.encoder.encode(text, "x") for text in TEXTS]
    alone = np.concatenate([loaded.backend.forward([e])[0] for e in encoded])
    many, stats = loaded.backend.forward(encoded * 9)
    np.testing.assert_array_equal(many, np.tile(alone, (9, 1)))
    assert stats.num_computed < stats.num_tokens  # equal prompts were computed once
    loaded.backend.close()


def test_the_manifest_says_what_it_is_made_from(artifact: Path) -> None:
    manifest, policy = _manifest(artifact), _manifest(artifact.parent / "artifact")
    assert manifest.implicit is not None and manifest.implicit.per_token == (manifest.base is not None)
    assert manifest.parents["policy"]["digest"] == policy.digest
    assert manifest.parents["reference"]["weights_sha256"] == policy.parents["base"]["weights_sha256"]
    assert manifest.calibration.slope > 0 and manifest.calibration.num_pairs == 24
    assert manifest.metrics["politeness"]["test"]["pooled"]["num_pairs"] == 24
    judged = open_implicit_reward(artifact.parent / "artifact", CPU)
    card = (artifact / "MODEL_CARD.md").read_text("utf-8")
    assert "The implicit reward `politeness`" in card
    assert "\n\nNot sure: calibrated on" in card
    assert "| split | pairs | refused | accuracy" in card
    rows = [json.loads(x) for x in (artifact / "golden.jsonl").read_text("utf-8").splitlines()]
    texts = [Conversation.of(tuple(Message(**m) for m in r["prompt"]), r["response"]) for r in rows]
    assert [r["raw"][0] for r in rows] == pytest.approx(judged.score(texts), abs=1e-5)


def test_it_is_no_classifier_to_train_on(artifact: Path) -> None:
    with pytest.raises(InvalidInput, match="is an implicit reward, which has no head; give"):
        open_local_reward(artifact, None, CPU)


def test_a_changed_reference_or_score_is_refused(merged: Path, tmp_path: Path) -> None:
    for name, change in (("weights", "base/config.json"), ("golden", "golden.jsonl")):
        copy = tmp_path / name
        shutil.copytree(merged, copy)
        with (copy / change).open("a") as file:
            file.write("\n")
        with pytest.raises(InvalidInput, match="was changed after its manifest was written"):
            _load(copy)
    unsealed = tmp_path / "golden"
    (unsealed / "manifest.json").write_text(to_json(replace(_manifest(merged), digest="")), "utf-8")
    lines = [json.loads(x) for x in (merged / "golden.jsonl").read_text("utf-8").splitlines()]
    lines[0]["raw"] = [lines[0]["raw"][0] + 0.01]
    (unsealed / "golden.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    with pytest.raises(InvalidInput, match="fails its score certificate: golden"):
        _load(unsealed)
    (unsealed / "golden.jsonl").unlink()
    with pytest.raises(InvalidInput, match=r"without golden\.jsonl"):
        _load(unsealed)
    weights = unsealed / "policy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    (unsealed / "golden.jsonl").write_bytes((merged / "golden.jsonl").read_bytes())
    with pytest.raises(InvalidInput, match="the weights of policy do not fit"):
        _load(unsealed)
    with pytest.raises(InvalidInput, match="onnxruntime cannot serve"):
        load_model(ModelSpec("implicit", str(merged), backend="onnxruntime"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": "artifact"}, "output must be another folder than policy"),
        ({"data": {"valid": "train.jsonl", "test": "held_test.jsonl"}}, "valid is what tiny was trained on"),
        ({"data": {"valid": "held_test.jsonl", "test": "held_test.jsonl"}}, "must be another file"),
        ({"data": {"valid": "none.jsonl", "test": "held_test.jsonl"}}, r"none\.jsonl does not exist"),
        (
            {"data": {"valid": "held_valid.jsonl", "test": "twice.jsonl"}},
            r"twice\.jsonl \(record 11-0\)",
        ),
        ({"policy": "reward"}, r"has no implicit_reward\.json"),
    ],
)
def test_what_cannot_be_exported_is_named(merged: Path, changes: dict[str, Any], message: str) -> None:
    write_jsonl(merged.parent / "twice.jsonl", pairs(3, 11))  # prompts of held_valid
    with pytest.raises(InvalidInput, match=message):
        _export(merged.parent, **({"output": "unwritten"} | changes))
    assert not (merged.parent / "unwritten").exists()
