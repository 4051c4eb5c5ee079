"""Base weights that lie elsewhere: in a package, in `base/`, or where a PEFT adapter says."""

import json
import shutil
from pathlib import Path

import peft
import pytest
from transformers import AutoModel, AutoModelForSequenceClassification

from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import PackageBase
from tests.artifacts.sealing import reward_manifest, seal, sha256
from tests.tiny import tiny


def save_adapter(folder: Path, base: Path, num_labels: int = 1) -> Path:
    """A LoRA adapter with a head of its own, as PEFT writes it."""
    model = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=num_labels, ignore_mismatched_sizes=True
    )
    lora = peft.LoraConfig(task_type=peft.TaskType.SEQ_CLS, r=2, target_modules=["query"])
    peft.get_peft_model(model, lora).save_pretrained(str(folder))
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that carries weights; the folder that holds them."""
    folder = tmp_path / "site" / "tiny_weights" / "model"
    shutil.copytree(tiny("bert"), folder)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return folder


@pytest.fixture
def over_package(tmp_path: Path, package: Path) -> Path:
    """A sealed artifact: adapter and manifest here, base weights in the package."""
    folder = tmp_path / "artifact"
    save_adapter(folder / "adapter", package)
    base = PackageBase("tiny_weights", "model", sha256(package / "model.safetensors"))
    seal(folder, reward_manifest(base), package)
    return folder


def test_base_in_a_package(over_package: Path, package: Path) -> None:
    found = read_artifact(str(over_package))
    assert (found.folder, found.base_folder) == (over_package, package)
    assert found.adapter_folder == over_package / "adapter"
    assert len(found.manifest.digest) == 64


def test_base_weights_that_differ_from_the_pin_are_refused(over_package: Path, package: Path) -> None:
    with (package / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(InvalidInput, match="not those that model tiny was trained on") as caught:
        read_artifact(str(over_package))
    assert caught.value.param == "manifest.base.weights_sha256"


def test_a_file_that_is_not_loaded_vouches_for_no_other(over_package: Path, package: Path) -> None:
    shutil.copyfile(package / "model.safetensors", package / "former.gguf")
    with (package / "model.safetensors").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(InvalidInput, match="not those that model tiny was trained on"):
        read_artifact(str(over_package))


def test_any_file_of_the_base_counts(over_package: Path, package: Path) -> None:
    with (package / "config.json").open("a") as file:
        file.write("\n")
    with pytest.raises(InvalidInput, match="was changed"):
        read_artifact(str(over_package))


def test_base_in_a_subfolder(tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(tiny("bert"), folder / "base")
    save_adapter(folder / "adapter", folder / "base")
    sealed = seal(folder, reward_manifest())
    found = read_artifact(str(folder))
    assert (found.base_folder, found.adapter_folder) == (folder / "base", folder / "adapter")
    assert found.manifest == sealed


def test_a_plain_adapter_folder(tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "lora", tiny("bert"), num_labels=3)
    found = read_artifact(str(folder))
    assert (found.folder, found.adapter_folder, found.base_folder) == (folder, folder, tiny("bert"))
    assert [h.name for h in found.manifest.heads] == ["head_0", "head_1", "head_2"]


def test_a_base_relative_to_the_adapter(tmp_path: Path) -> None:
    shutil.copytree(tiny("bert"), tmp_path / "base-model")
    folder = save_adapter(tmp_path / "lora", tmp_path / "base-model")
    before = read_artifact(str(folder)).manifest.digest
    config = folder / "adapter_config.json"
    config.write_text(
        json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": "../base-model"})
    )
    found = read_artifact(str(folder))
    assert found.base_folder == tmp_path / "base-model"
    assert found.manifest.digest != before
    (tmp_path / "base-model" / "vocab.txt").write_text("x")
    assert read_artifact(str(folder)).manifest.digest != found.manifest.digest


@pytest.mark.parametrize("named", ["", None, "./gone"])
def test_a_base_that_is_not_there(named: str | None, tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "lora", tiny("bert"))
    config = folder / "adapter_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"base_model_name_or_path": named}))
    with pytest.raises(InvalidInput):
        read_artifact(str(folder))


def test_an_adapter_that_lost_its_head_is_refused(tmp_path: Path) -> None:
    base = tmp_path / "headless"
    shutil.copytree(tiny("bert"), base)
    model = AutoModel.from_pretrained(base)
    model.save_pretrained(base)
    lora = peft.LoraConfig(r=2, target_modules=["query"])
    peft.get_peft_model(model, lora).save_pretrained(str(tmp_path / "lora"))
    with pytest.raises(InvalidInput, match=r"no reward head.*modules_to_save"):
        read_artifact(str(tmp_path / "lora"))
