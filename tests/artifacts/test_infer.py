"""A plain folder gets a manifest, and everything that was inferred is said."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from guerdon_service.artifacts.infer import FALLBACK_TOKENS, MAX_INFERRED_TOKENS
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, Norm, Profile
from tests.tiny import DECODERS, ENCODERS, MAX_POSITIONS, build_tiny, tiny


def edited(folder: Path, name: str = "config.json", **changes: Any) -> Path:
    """`folder` with fields of a JSON file set, or removed where the value is None."""
    data = json.loads((folder / name).read_text()) | changes
    (folder / name).write_text(json.dumps({k: v for k, v in data.items() if v is not None}))
    return folder


def infer(folder: Path) -> Manifest:
    return read_artifact(str(folder), "some-name").manifest


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    return shutil.copytree(tiny("bert"), tmp_path / "bert")


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    return shutil.copytree(tiny("llama"), tmp_path / "llama")


@pytest.mark.parametrize("arch", [*ENCODERS, *DECODERS])
def test_every_family(arch: str) -> None:
    manifest = infer(tiny(arch))
    assert manifest.name == "some-name"
    assert [h.name for h in manifest.heads] == ["reward"]
    assert manifest.profiles == {"default": Profile({"reward": 1.0})}
    assert manifest.encoding == ("pair" if arch in ENCODERS else "template")
    assert manifest.max_tokens == MAX_POSITIONS
    assert manifest.pooling == "model"


def test_every_inference_is_said(bert: Path) -> None:
    said = " | ".join(infer(bert).inferred)
    for what in (
        "manifest.json",
        "version",
        "heads",
        "normalise",
        "max_tokens: 512",
        "encoding",
        "pooling",
        "calibration: none",
    ):
        assert what in said


def test_the_name_defaults_to_the_folders() -> None:
    assert read_artifact(str(tiny("bert"))).manifest.name == "bert"


def test_heads_are_named_by_label_index_whatever_the_order_in_the_file(tmp_path: Path) -> None:
    folder = build_tiny("bert", tmp_path, num_labels=3)
    labels = {"2": "harmless", "0": "helpful", "1": "honest"}
    edited(folder, id2label=labels, label2id={v: int(k) for k, v in labels.items()})
    manifest = infer(folder)
    assert [h.name for h in manifest.heads] == ["helpful", "honest", "harmless"]
    assert manifest.profiles["default"].weights == pytest.approx(
        {"helpful": 1 / 3, "honest": 1 / 3, "harmless": 1 / 3}
    )
    said = [line for line in manifest.inferred if line.startswith("profile: ")]
    assert len(said) == 1 and "mean of 3 heads (helpful, honest, harmless)" in said[0]
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    inputs = AutoTokenizer.from_pretrained(folder)("a", "b", return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0].tolist()
    named = {model.config.id2label[i]: value for i, value in enumerate(logits)}
    assert {h.name: v for h, v in zip(manifest.heads, logits, strict=True)} == named


def test_labels_that_are_not_distinct_give_numbered_heads(tmp_path: Path) -> None:
    folder = edited(build_tiny("bert", tmp_path, num_labels=2), id2label={"0": "x", "1": "x"})
    assert [h.name for h in infer(folder).heads] == ["head_0", "head_1"]


def test_two_labels_that_the_file_leaves_out_are_transformers_default(tmp_path: Path) -> None:
    folder = edited(build_tiny("bert", tmp_path, num_labels=2), id2label=None, label2id=None, num_labels=None)
    assert [h.name for h in infer(folder).heads] == ["LABEL_0", "LABEL_1"]


@pytest.mark.parametrize(
    ("arch", "config", "tokenizer", "expected"),
    [
        ("bert", {}, {"model_max_length": 128}, 128),
        ("bert", {}, {"model_max_length": 10**30}, MAX_POSITIONS),
        ("bert", {"max_position_embeddings": 256}, {"model_max_length": None}, 256),
        ("xlm_roberta", {"max_position_embeddings": 130}, {}, 128),
        ("llama", {"max_position_embeddings": 131_072}, {"model_max_length": 10**30}, MAX_INFERRED_TOKENS),
    ],
)
def test_max_tokens(arch: str, config: Any, tokenizer: Any, expected: int, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny(arch), tmp_path / arch)
    edited(folder, **config)
    assert infer(edited(folder, "tokenizer_config.json", **tokenizer)).max_tokens == expected


def test_max_tokens_where_nothing_says(tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("bert"), tmp_path / "bert")
    edited(folder, max_position_embeddings=-1)
    assert infer(edited(folder, "tokenizer_config.json", model_max_length=None)).max_tokens == FALLBACK_TOKENS


def test_normalisation_that_a_trainer_left_in_the_config(bert: Path) -> None:
    manifest = infer(edited(bert, mean=0.25, std=2))
    assert manifest.heads[0].norm == Norm(0.25, 2.0)
    assert any("0.25" in line and "2.0" in line for line in manifest.inferred)


@pytest.mark.parametrize("changes", [{"mean": 1}, {"mean": 1, "std": 0}, {"mean": float("nan"), "std": 1}])
def test_half_a_normalisation_is_none(bert: Path, changes: Any) -> None:
    assert infer(edited(bert, **changes)).heads[0].norm == Norm()


def test_a_decoder_without_a_template_is_refused(llama: Path) -> None:
    (llama / "chat_template.jinja").unlink()
    with pytest.raises(InvalidInput, match=r"never guessed.*chat_template\.jinja") as caught:
        infer(llama)
    assert caught.value.param == "manifest.template"


@pytest.mark.parametrize("arch", ["bert", "llama"])
def test_a_folder_without_a_tokenizer_is_told_so(arch: str, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny(arch), tmp_path / arch)
    kept = {"config.json", "model.safetensors"}
    for path in [path for path in folder.iterdir() if path.name not in kept]:
        path.unlink()
    told = r"has no tokenizer: neither tokenizer\.json nor.*save_pretrained"
    with pytest.raises(InvalidInput, match=told) as caught:
        infer(folder)
    assert caught.value.param == "tokenizer"
    assert "template" not in caught.value.message


def test_a_template_in_the_tokenizers_config_counts(llama: Path) -> None:
    template = (llama / "chat_template.jinja").read_text()
    (llama / "chat_template.jinja").unlink()
    assert infer(edited(llama, "tokenizer_config.json", chat_template=template)).encoding == "template"


def test_a_template_that_reads_the_date_is_told(llama: Path) -> None:
    (llama / "chat_template.jinja").write_text("{{ strftime_now('%d') }}{{ messages[-1].content }}")
    assert any("fixed date" in line for line in infer(llama).inferred)


@pytest.mark.parametrize("architectures", [["LlamaForCausalLM"], [], None])
def test_a_model_without_a_reward_head_is_refused(llama: Path, architectures: list[str] | None) -> None:
    with pytest.raises(InvalidInput, match="no reward head"):
        infer(edited(llama, architectures=architectures))


def test_an_architecture_of_remote_code_is_refused_and_not_run(llama: Path, tmp_path: Path) -> None:
    (llama / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Evil: ...\n")
    with pytest.raises(InvalidInput, match="without remote code"):
        infer(edited(llama, model_type="evil", auto_map={"AutoConfig": "evil.Evil"}))
    assert not (tmp_path / "ran").exists()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no config\.json and no adapter_config\.json"):
        infer(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_config_that_is_not_json_is_refused(bert: Path, text: str) -> None:
    (bert / "config.json").write_text(text)
    with pytest.raises(InvalidInput, match=r"config\.json"):
        infer(bert)
