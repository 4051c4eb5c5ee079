"""The recipe from end to end on a tiny base: it learns, and what it writes can be read and reproduced."""

import json
import re
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import peft
import pytest
import torch
from scipy.optimize import minimize_scalar
from transformers import AutoModelForSequenceClassification

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_training.artifact import digest_of
from guerdon_training.cli import train_command
from guerdon_training.config import BaseConfig
from guerdon_training.encode import encode_pair
from guerdon_training.forward import collate
from guerdon_training.model import base_folder, load_tokenizer

CONFIG = """
name: tiny
version: "1"
output: artifact
max_tokens: 64
seed: 1
limits: ["Anything: it is a test."]
base:
  package: tiny_guerdon_base
  subfolder: model
data:
  train: train.jsonl
  valid: valid.jsonl
  test: test.jsonl
heads:
  - name: quality
    sources: [{source: made, licence: our own}]
  - name: brevity
    sources: [{source: short, licence: our own, subsets: [kept], excluded: the rest.}]
profiles:
  both: {quality: 0.5, brevity: 0.5}
lora:
  rank: 4
  alpha: 8
  layers: [1, 2]
optim:
  epochs: 12
  learning_rate: 1e-2
  pairs_per_step: 8
  ema_decay: 0.5
  num_threads: 1
"""


def records(count: int, seed: int) -> str:
    """Good answers beat bad ones, some by being short too; a fifth of the held-out labels is wrong."""
    random = Random(seed)
    lines = []
    for i in range(count):
        words = random.choices(["what", "how", "why", "one", "two", "three"], k=4)
        prompt = " ".join([("what", "how", "why")[seed], *words, "?"])  # no prompt is in two splits
        good, bad = f"the answer is good {prompt}", f"the answer is bad {prompt}"
        short, long = "one good", "very " * random.randint(4, 9) + "two bad"
        chosen, rejected = (good, bad) if i % 2 else (short, long)
        if seed and i % 10 >= 8:
            chosen, rejected = rejected, chosen
        source, subset = ("made", "") if i % 2 else ("short", "kept")
        lines.append(
            json.dumps(
                {
                    "id": str(i),
                    "prompt": [{"role": "user", "content": prompt}],
                    "chosen": chosen,
                    "rejected": rejected,
                    "source": source,
                    "subset": subset,
                }
            )
        )
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def trained(tiny_base: BaseConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder where the recipe ran through the command."""
    folder = tmp_path_factory.mktemp("run")
    for seed, split in enumerate(("train", "valid", "test")):
        (folder / f"{split}.jsonl").write_text(records(40, seed))
    (folder / "config.yaml").write_text(CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert train_command(["reward", "config.yaml"]) == 0
    return folder / "artifact"


@pytest.fixture(scope="module")
def manifest(trained: Path) -> Manifest:
    """What it wrote, parsed and checked by the service's own reader."""
    return from_json((trained / "manifest.json").read_text("utf-8"))


def test_it_learns_each_head_from_its_own_pairs(manifest: Manifest) -> None:
    for head in ("quality", "brevity"):
        assert manifest.metrics[head]["test"]["pooled"]["accuracy"]["value"] >= 0.75


def test_the_libraries_that_made_it_are_in_the_manifest(manifest: Manifest) -> None:
    names = ("torch", "transformers", "peft", "accelerate")
    assert {name: manifest.parents[name] for name in names} == {name: version(name) for name in names}
    assert len(manifest.parents["git_revision"]) in (0, 40)


def test_the_digest_seals_the_folder_and_the_base(
    trained: Path, manifest: Manifest, tiny_base: BaseConfig
) -> None:
    base = base_folder(tiny_base)
    assert manifest.digest == digest_of(trained, manifest, base)
    card = trained / "MODEL_CARD.md"
    text = card.read_text("utf-8")
    card.write_text(text + " ", "utf-8")
    assert manifest.digest != digest_of(trained, manifest, base)
    card.write_text(text, "utf-8")


def test_plain_transformers_and_peft_reproduce_the_golden_scores(
    trained: Path, manifest: Manifest, tiny_base: BaseConfig
) -> None:
    base = base_folder(tiny_base)
    tokenizer = load_tokenizer(base)
    plain = AutoModelForSequenceClassification.from_pretrained(base, num_labels=2)
    model = peft.PeftModel.from_pretrained(plain, str(trained / "adapter")).eval()
    lines = (trained / "golden.jsonl").read_text("utf-8").splitlines()
    assert len(lines) >= 12
    for line in map(json.loads, lines):
        prompt = tuple(Message(**m) for m in line["prompt"])
        tokens = encode_pair(tokenizer, prompt, line["response"], manifest.max_tokens)
        assert tokens is not None
        with torch.inference_mode():
            raw = model(**collate([tokens], tokenizer.pad_token_id)).logits[0]
        torch.testing.assert_close(raw, torch.tensor(line["raw"]), atol=1e-5, rtol=0)


def test_norm_and_temperature_are_those_of_the_valid_pairs(trained: Path, manifest: Manifest) -> None:
    """scipy finds the same slope on the stored scores of valid, and on those of test another."""
    lines = [json.loads(line) for line in (trained / "scores.jsonl").read_text("utf-8").splitlines()]
    valid, test = (np.array([x["raw"] for x in lines if x["split"] == s]) for s in ("valid", "test"))
    norms = np.array([[h.norm.mean, h.norm.std] for h in manifest.heads])
    np.testing.assert_allclose(norms, np.stack([valid.mean((0, 1)), valid.std((0, 1))], 1), rtol=1e-6)
    assert np.abs(norms - np.stack([test.mean((0, 1)), test.std((0, 1))], 1)).max() > 1e-3

    def slope(raw: np.ndarray[Any, Any]) -> float:
        margins = (raw[:, 0] - raw[:, 1]) @ (0.5 / norms[:, 1])
        found = minimize_scalar(lambda s: np.logaddexp(0.0, -s * margins).sum(), (0.1, 1.0), tol=1e-12)
        return float(found.x)

    assert manifest.calibration is not None and manifest.calibration.num_pairs == len(valid)
    assert manifest.calibration.slope == pytest.approx(slope(valid), rel=1e-4)
    assert manifest.calibration.slope != pytest.approx(slope(test), rel=1e-4)


def test_no_path_of_this_machine_is_in_the_artifact(trained: Path) -> None:
    config = json.loads((trained / "adapter" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny_guerdon_base"
    here = str(trained.parent)
    assert not [p for p in trained.rglob("*") if p.is_file() and here in p.read_text("utf-8", "ignore")]


def test_the_same_seed_gives_the_same_weights_and_the_last_line_tells_what_they_are_worth(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    for name in ("train.jsonl", "valid.jsonl", "test.jsonl", "config.yaml"):
        (tmp_path / name).write_bytes((trained.parent / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert train_command(["reward", "config.yaml"]) == 0
    weights = "adapter/adapter_model.safetensors"
    assert (tmp_path / "artifact" / weights).read_bytes() == (trained / weights).read_bytes()
    *_, told = capsys.readouterr().out.splitlines()
    assert re.match(r"artifact: .*quality: test accuracy 0\.\d+ \[.* on \d+ pairs", told)
    assert not [
        w for w in recwarn if issubclass(w.category, FutureWarning)
    ]  # peft asks for what is deprecated


@pytest.mark.parametrize("other", ["train", "valid"])
def test_a_prompt_in_two_splits_stops_it(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """Shouted, with white space and another answer it is the same prompt."""
    for name in ("train.jsonl", "valid.jsonl", "test.jsonl", "config.yaml"):
        (tmp_path / name).write_bytes((trained.parent / name).read_bytes())
    record = json.loads((tmp_path / f"{other}.jsonl").read_text("utf-8").splitlines()[3])
    record["prompt"][0]["content"] = record["prompt"][0]["content"].upper() + " \n"
    record |= {"id": "copied", "chosen": "the answer is one", "rejected": "two"}
    with (tmp_path / "test.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")
    monkeypatch.chdir(tmp_path)
    said = rf"{other}\.jsonl \(record 3\) and test\.jsonl \(record copied\) share a prompt"
    with pytest.raises(InvalidInput, match=said):
        train_command(["reward", "config.yaml"])
    assert not (tmp_path / "artifact").exists()


def test_bad_data_stops_it_before_anything_is_written(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "train.jsonl").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInput, match=r"train\.jsonl:1"):
        train_command(["reward", "config.yaml"])
    assert not (tmp_path / "artifact").exists()
