"""Supervised fine-tuning from end to end on a tiny policy."""

import csv
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon_service.artifacts.digest import file_digests
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.fingerprint import artifact_digest, manifest_digest
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_training.cli import train_command
from guerdon_training.policy.demonstrations import read_demonstrations
from guerdon_training.policy.encode import encode_example
from guerdon_training.sft import train_sft
from tests.training_policy.runs import (
    check_counts_what_is_too_long,
    check_goes_on,
    check_refused,
    prepare_sft,
    replaced,
)
from tests.training_policy.tiny_lm import build_lm, demonstrations, write_jsonl

WEIGHTS = "artifact/model.safetensors"


@pytest.fixture(scope="module")
def trained(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder where the recipe ran through the command, with adapters."""
    folder = tmp_path_factory.mktemp("sft")
    config = prepare_sft(folder, tiny_lm)
    (folder / "artifact/onnx").mkdir(parents=True)  # as an export of an earlier run leaves it
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_command(["sft", config.name]) == 0
    return folder


@pytest.fixture(scope="module")
def manifest(trained: Path) -> Manifest:
    return from_json((trained / "artifact/manifest.json").read_text("utf-8"))


def test_it_learns(trained: Path, manifest: Manifest) -> None:
    lines = [json.loads(x) for x in (trained / "artifact/metrics.jsonl").read_text("utf-8").splitlines()]
    losses = [x["loss"] for x in lines if "loss" in x]
    assert len(losses) == 15
    assert losses[-1] < losses[0] - 1.0
    assert manifest.metrics["test"]["loss"] < losses[0] - 1.0
    assert manifest.kind == "policy"


def test_plain_transformers_reproduces_the_test_loss(trained: Path, manifest: Manifest) -> None:
    model = AutoModelForCausalLM.from_pretrained(trained / "artifact").eval()
    tokenizer = AutoTokenizer.from_pretrained(trained / "artifact")
    total = count = 0.0
    for record in demonstrations(10, 3):
        prompt = record["prompt"]
        turns = (Message("user", prompt),) if isinstance(prompt, str) else (Message(**prompt[0]),)
        example = encode_example(tokenizer, turns, record["response"], 64)
        assert example is not None
        ids = torch.tensor([example.input_ids])
        labels = ids.masked_fill(~torch.tensor([example.is_target]), -100)
        with torch.inference_mode():
            total += float(model(input_ids=ids, labels=labels).loss) * example.num_targets
        count += example.num_targets
    assert total / count == pytest.approx(manifest.metrics["test"]["loss"], abs=1e-5)


def test_the_service_s_digest_seals_the_folder(trained: Path, manifest: Manifest) -> None:
    digests = file_digests(trained / "artifact") | {"manifest.json": manifest_digest(manifest)}
    assert manifest.digest == artifact_digest(digests)
    assert {"config.yaml", "metrics.jsonl", "model.safetensors", "tokenizer.json"} <= digests.keys()
    assert not (trained / "artifact/onnx").exists()


def test_it_says_what_it_was_made_from(manifest: Manifest) -> None:
    assert set(manifest.parents["data_sha256"]) == {"train", "valid", "test"}
    assert manifest.parents["config"]["optim"]["schedule"] == "cosine"  # defaults are resolved
    assert len(manifest.parents["base"]["weights_sha256"]) == 64


def test_an_interrupted_run_ends_in_the_same_weights(trained: Path, tiny_lm: Path, here: Path) -> None:
    config = prepare_sft(here, tiny_lm)
    check_goes_on(train_sft, config, "guerdon_training.sft.evaluate", 2, trained / "artifact")


def test_a_checkpoint_of_another_config_is_refused(
    here: Path, tiny_lm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = prepare_sft(here, tiny_lm)
    with monkeypatch.context() as patch:
        patch.setattr("guerdon_training.sft.publish", lambda *_: None)
        train_sft(Path(config.name))
    replaced(config, "seed: 5", "seed: 6")
    with pytest.raises(InvalidInput, match="is of another config"):
        train_sft(Path(config.name))


def test_full_training_moves_every_weight_and_keeps_the_best_epoch(here: Path, tiny_lm: Path) -> None:
    config = prepare_sft(here, tiny_lm, tables="")
    replaced(config, "learning_rate: 1e-2", "learning_rate: 5e-2")
    found = train_sft(Path(config.name))
    before = AutoModelForCausalLM.from_pretrained(tiny_lm).state_dict()
    after = AutoModelForCausalLM.from_pretrained(here / "artifact").state_dict()
    assert all(not torch.equal(before[name], after[name]) for name in before)
    lines = [json.loads(x) for x in (here / "artifact/metrics.jsonl").read_text("utf-8").splitlines()]
    by_epoch = {x["epoch"]: x["valid/loss"] for x in lines if "valid/loss" in x}
    best = min(by_epoch, key=by_epoch.__getitem__)
    assert found.metrics["epoch"] == best
    assert found.metrics["valid"]["loss"] == pytest.approx(by_epoch[best], abs=1e-6)


def test_what_is_too_long_is_counted(here: Path, tiny_lm: Path) -> None:
    check_counts_what_is_too_long(train_sft, prepare_sft(here, tiny_lm))


def test_a_loss_that_is_not_finite_stops_the_run(here: Path, tiny_lm: Path) -> None:
    config = prepare_sft(here, tiny_lm, tables="")
    replaced(config, "learning_rate: 1e-2", "learning_rate: 1e30")
    with pytest.raises(GuerdonError, match=r"at update \d+; lower optim\.learning_rate"):
        train_sft(Path(config.name))
    assert not (here / "artifact/manifest.json").exists()


def test_a_last_step_that_breaks_the_weights_leaves_neither_checkpoint_nor_artifact(
    here: Path, tiny_lm: Path
) -> None:
    config = prepare_sft(here, tiny_lm, tables="")
    one_step = ["optim.learning_rate=.inf", "optim.examples_per_step=64"]  # its own loss was still finite
    with pytest.raises(GuerdonError, match=r"valid loss is nan after epoch 1; lower optim\.learning_rate"):
        train_sft(config, one_step)
    assert [p.name for p in (here / "artifact/.run").iterdir()] == ["metrics.jsonl"]
    assert not (here / "artifact/manifest.json").exists()


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("seed: 5", "seed: 5\nlerning_rate: 1", "lerning_rate is unknown"),
        ("epochs: 3", "epochs: 0", r"optim\.epochs must be at least 1"),
        ("max_tokens: 64", "max_tokens: 513", r"config max_tokens is 513, but the base reads 512 at most"),
        ("max_tokens: 64", "max_tokens: 8", "no response of train.jsonl fits"),
        ("seed: 5", "seed: 5\nsave: adapter", "is a folder"),
        ("epochs: 3", "epochs: 3\n  weight_decay: -1.0", r"optim\.weight_decay must be at least 0"),
        ("max_row_tokens: 300", "max_row_tokens: 0", r"optim\.max_row_tokens must be at least 1"),
        ("test: test.jsonl", "test: test.jsonl\n  max_train: -1", r"keeps -1 records of train\.jsonl"),
        ("rank: 4", "rank: 4\n  target_modules: [nope]", r"names 'nope'; .* have down_proj, g"),
        ("rank: 4", "rank: -4", r"lora\.rank is -4"),
        ("train: train.jsonl", "train: missing.jsonl", "missing.jsonl does not exist"),
        ("test: test.jsonl", "test: valid.jsonl", r"valid\.jsonl \(record 1-0\) share a prompt"),
        ("optim:", "  sources: [nobody]\noptim:", "names nobody, which train.jsonl does not hold"),
    ],
)
def test_a_config_that_cannot_be_used_stops_it_before_anything_is_written(
    here: Path, tiny_lm: Path, old: str, new: str, match: str
) -> None:
    check_refused(train_sft, replaced(prepare_sft(here, tiny_lm), old, new), match)


@pytest.mark.parametrize(
    ("record", "match"),
    [
        ({"prompt": "a \udc00", "response": "y"}, r"train\.jsonl:2 holds half a character"),
        ({"prompt": "what"}, r"train\.jsonl:2 is not a demonstration"),
        ({"prompt": [{"role": "robot", "content": "x"}], "response": "y"}, "role is 'robot'"),
        ({"id": "0-3", "prompt": "what", "response": "y"}, "repeats the id '0-3'"),
        ({"prompt": [{"role": "assistant", "content": "x"}], "response": "y"}, "ends with an assistant turn"),
    ],
)
def test_a_bad_line_is_named(here: Path, tiny_lm: Path, record: dict[str, object], match: str) -> None:
    config = prepare_sft(here, tiny_lm)
    good = demonstrations(36, 0)
    write_jsonl(here / "train.jsonl", [good[0], record, *good[1:]])
    with pytest.raises(InvalidInput, match=match):
        train_sft(Path(config.name))


def test_a_csv_holds_messages_as_json(tmp_path: Path) -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "what"}]
    with (tmp_path / "demonstrations.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["prompt", "response"], [json.dumps(turns), "y"]])
    (found,) = read_demonstrations(tmp_path / "demonstrations.csv")
    assert found.prompt == tuple(Message(**turn) for turn in turns)


def test_a_base_without_a_chat_template_is_refused(here: Path) -> None:
    base = build_lm(here / "base")
    (base / "chat_template.jinja").unlink()
    with pytest.raises(InvalidInput, match="has no chat template"):
        train_sft(prepare_sft(here, base))
