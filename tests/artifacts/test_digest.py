"""The digest changes with any byte that counts, and with nothing else; a changed artifact is refused."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from guerdon_service.artifacts.read import read_artifact
from guerdon_service.core.errors import InvalidInput
from tests.artifacts.sealing import reward_manifest, seal
from tests.tiny import tiny


def digest(folder: Path) -> str:
    return read_artifact(str(folder)).manifest.digest


def flip(path: Path) -> None:
    """Change one bit of the last byte, or of the last digit of a text that must stay readable."""
    data = bytearray(path.read_bytes())
    at = max(i for i, byte in enumerate(data) if byte in b"0123456789") if path.suffix == ".json" else -1
    data[at] ^= 1
    path.write_bytes(bytes(data))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return shutil.copytree(tiny("llama"), tmp_path / "model")


FILES = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@pytest.mark.parametrize("name", FILES)
def test_any_changed_byte_changes_the_digest(folder: Path, name: str) -> None:
    before = digest(folder)
    flip(folder / name)
    assert digest(folder) != before


def test_added_removed_and_renamed_files_change_the_digest(folder: Path) -> None:
    seen = [digest(folder)]
    (folder / "notes.txt").write_text("hello")
    seen.append(digest(folder))
    (folder / "notes.txt").rename(folder / "other.txt")
    seen.append(digest(folder))
    (folder / "sub").mkdir()
    (folder / "other.txt").rename(folder / "sub" / "other.txt")
    seen.append(digest(folder))
    assert len(set(seen)) == 4
    (folder / "sub" / "other.txt").unlink()
    assert digest(folder) == seen[0]


def test_nothing_else_changes_the_digest(folder: Path) -> None:
    before = digest(folder)
    os.utime(folder / "config.json", (1, 1))
    (folder / ".gitattributes").write_text("x")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("x")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"x")
    moved = folder.rename(folder.parent / "another name")
    assert digest(moved) == before


def test_version_of_an_inferred_manifest_is_the_digests_beginning(folder: Path) -> None:
    manifest = read_artifact(str(folder)).manifest
    assert manifest.version == manifest.digest[:12]
    assert len(manifest.digest) == 64


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    folder = shutil.copytree(tiny("bert"), tmp_path / "sealed")
    (folder / "golden.jsonl").write_text("")
    seal(folder, reward_manifest())
    return folder


def test_a_sealed_artifact_is_read(sealed: Path) -> None:
    found = read_artifact(str(sealed), "another name")
    assert found.manifest == replace(reward_manifest(), digest=found.manifest.digest)
    assert found.manifest.digest == json.loads((sealed / "manifest.json").read_text())["digest"]
    assert (found.folder, found.base_folder, found.adapter_folder) == (sealed, sealed, None)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json", "golden.jsonl"])
def test_an_artifact_that_was_changed_is_refused(sealed: Path, name: str) -> None:
    with (sealed / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(InvalidInput, match="was changed after its manifest was written") as caught:
        read_artifact(str(sealed))
    assert caught.value.param == "manifest.digest"


def test_a_manifest_that_was_changed_is_refused(sealed: Path) -> None:
    path = sealed / "manifest.json"
    path.write_text(path.read_text().replace('"max_tokens": 64', '"max_tokens": 65'))
    with pytest.raises(InvalidInput, match="was changed"):
        read_artifact(str(sealed))


def test_the_manifests_formatting_is_free(sealed: Path) -> None:
    path, before = sealed / "manifest.json", digest(sealed)
    path.write_text(json.dumps(json.loads(path.read_text()), indent=None))
    assert digest(sealed) == before


def test_a_blank_digest_is_filled_in(sealed: Path) -> None:
    path, before = sealed / "manifest.json", digest(sealed)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"digest": ""}))
    assert digest(sealed) == before


def test_a_linked_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (folder / "onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InvalidInput, match="links to a folder, 'onnx'"):
        read_artifact(str(folder))
