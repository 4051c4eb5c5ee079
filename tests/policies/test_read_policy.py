"""A policy is found, digested and checked before it is loaded: folder, artifact, package, adapter."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from guerdon_service.artifacts.policy import read_policy
from guerdon_service.artifacts.resolve import DEFAULT_MODEL
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, PackageBase, to_json
from guerdon_service.core.policy_files import PolicyFiles
from guerdon_service.policies.causal_lm import CausalLM, load_causal_lm
from guerdon_service.policies.decode import decode
from guerdon_service.policies.draw import uniforms
from guerdon_training.policy.artifact import package_of, write_policy
from guerdon_training.policy.base import policy_base
from tests.policies.tiny_policy import build_policy
from tests.training_policy.gguf_package import build_gguf_package

PACKAGE = "tiny_policy_package"
MANIFEST = Manifest("p", "1", (), {}, 64, kind="policy")
IDS = [5, 6, 7, 8]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    root = tmp_path_factory.mktemp("gguf")
    folder = build_gguf_package(root, PACKAGE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        patch.setenv("XDG_CACHE_HOME", str(root / "cache"))
        yield folder


def loaded(source: object) -> CausalLM:
    return load_causal_lm(read_policy(str(source)), "float32", "cpu")


def first_logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model(torch.tensor([IDS])).logits[0, -1])


def test_a_plain_folder_is_digested(folder: Path, tmp_path: Path) -> None:
    files = read_policy(str(folder))
    assert (files.weights, files.adapter, len(files.digest)) == (folder, None, 64)
    assert read_policy(str(build_policy(tmp_path / "same"))).digest == files.digest
    assert read_policy(str(build_policy(tmp_path / "other", seed=9))).digest != files.digest


def test_a_package_s_gguf_is_dequantised_where_training_looks(package: Path) -> None:
    files = read_policy(PACKAGE)
    assert files.weights == package / "tiny.gguf"
    lm = loaded(PACKAGE)
    cached = policy_base(PACKAGE)
    before = (cached / "model.safetensors").stat().st_mtime_ns
    loaded(PACKAGE)
    assert (cached / "model.safetensors").stat().st_mtime_ns == before  # converted once
    plain = AutoModelForCausalLM.from_pretrained(cached)
    torch.testing.assert_close(first_logits(lm.model), first_logits(plain), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("save", ["merged", "adapter"])
def test_what_training_writes_is_a_policy(package: Path, tmp_path: Path, save: str) -> None:
    base, artifact = policy_base(PACKAGE), tmp_path / "artifact"
    model = AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], init_lora_weights=False)
    tuned: Any = peft.get_peft_model(model, config).eval()
    expected = first_logits(tuned)
    manifest = replace(MANIFEST, base=package_of(PACKAGE) if save == "adapter" else None)
    sealed = write_policy(artifact, tuned, AutoTokenizer.from_pretrained(base), manifest, save)
    files = read_policy(str(artifact))
    assert files.digest == sealed.digest
    assert (files.adapter is not None) == (save == "adapter")
    lm = load_causal_lm(files, "float32", "cpu")
    torch.testing.assert_close(first_logits(lm.model), expected, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(expected, first_logits(AutoModelForCausalLM.from_pretrained(base)), atol=1e-3)


def test_a_changed_artifact_is_refused(folder: Path, tmp_path: Path) -> None:
    artifact = tmp_path / "artifact"
    model = AutoModelForCausalLM.from_pretrained(folder)
    write_policy(artifact, model, AutoTokenizer.from_pretrained(folder), MANIFEST, "merged")
    assert len(read_policy(str(artifact)).digest) == 64
    (artifact / "generation_config.json").write_text("{}")
    with pytest.raises(InvalidInput, match="changed after its manifest"):
        read_policy(str(artifact))


def test_an_adapter_on_other_weights_is_refused(package: Path, tmp_path: Path) -> None:
    pinned = replace(MANIFEST, base=PackageBase(PACKAGE, "", "0" * 64))
    (tmp_path / "manifest.json").write_text(to_json(pinned))
    with pytest.raises(InvalidInput, match="holds other weights"):
        read_policy(str(tmp_path))


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("no_such_package_here", "is not installed"),
        ("not/a/folder/at/all", "no folder and no hub id"),
        ("json", "carries 0 GGUF files"),
    ],
)
def test_what_is_not_there_is_refused(source: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        read_policy(source)


def test_a_reward_model_is_no_policy(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="give a policy"):
        read_policy(str(DEFAULT_MODEL))
    with pytest.raises(InvalidInput, match="neither manifest"):
        read_policy(str(tmp_path))


def test_nothing_is_guessed(tmp_path: Path, folder: Path) -> None:
    bare = build_policy(tmp_path / "bare", template=False)
    with pytest.raises(InvalidInput, match="no chat template"):
        loaded(bare)
    (bare / "tokenizer.json").unlink()
    with pytest.raises(InvalidInput, match="has no tokenizer"):
        loaded(bare)
    with pytest.raises(InvalidInput, match="dtype"):
        load_causal_lm(read_policy(str(folder)), "int4", "cpu")
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(folder / "tokenizer.json", empty)
    with pytest.raises(InvalidInput, match="cannot be loaded"):
        load_causal_lm(PolicyFiles(empty, None, ""), "float32", "cpu")


def test_a_policy_in_bfloat16_decodes(folder: Path) -> None:
    lm = load_causal_lm(read_policy(str(folder)), "bfloat16", "cpu")
    noise = torch.stack([uniforms(0, i, 8) for i in range(9)])
    steps = decode(lm.model, IDS, noise, temperature=1.0, top_p=1.0, ends=lm.ends)
    assert sorted(s.row for finished in steps for s in finished) == list(range(9))
