"""What `pip install guerdon` brings, and that the three wheels together are the whole tree."""

import ctypes
import platform
import subprocess
import sys
import tomllib
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from email.parser import Parser
from hashlib import sha256
from importlib.metadata import distributions, requires
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from packaging.requirements import Requirement

from hatch_build import LIBRARY, NATIVE, TAG

ROOT = Path(__file__).parents[2]
FOLDERS = {"guerdon": ROOT, "guerdon-service": ROOT / "service", "guerdon-training": ROOT / "training"}
MAX_CLIENT_BYTES = 300_000


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Each distribution's wheel."""
    folder = tmp_path_factory.mktemp("wheels")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, *FOLDERS.values()], check=True)
    return {path.name.partition("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}


def files(wheel: Path) -> set[str]:
    return {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}


def metadata(wheel: Path) -> Any:
    with ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(archive.read(name).decode())


def test_the_client_is_small_and_alone(wheels: dict[str, Path]) -> None:
    assert wheels["guerdon"].stat().st_size < MAX_CLIENT_BYTES
    assert {name.partition("/")[0] for name in files(wheels["guerdon"])} == {"guerdon", "guerdon_protos"}


def test_the_client_needs_little(wheels: dict[str, Path]) -> None:
    asked = [Requirement(text) for text in metadata(wheels["guerdon"]).get_all("Requires-Dist")]
    base = {r.name for r in asked if r.marker is None or r.marker.evaluate({"extra": ""})}
    assert base == {"grpcio", "httpx", "protobuf", "tqdm"}


def test_an_extra_brings_the_code_of_the_same_version(wheels: dict[str, Path]) -> None:
    (version,) = {metadata(wheel)["Version"] for wheel in wheels.values()}
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert f"guerdon-service=={version}" in extras["serve"]
    assert f"guerdon-training=={version}" in extras["train"]
    needed = {name: metadata(wheel).get_all("Requires-Dist") for name, wheel in wheels.items()}
    assert needed["guerdon-service"] == [f"guerdon=={version}"]
    assert needed["guerdon-training"] == [f"guerdon-service=={version}"]


def test_together_they_are_the_whole_tree(wheels: dict[str, Path]) -> None:
    packed = [name for wheel in wheels.values() for name in files(wheel)]
    assert len(packed) == len(set(packed))
    listed = subprocess.run(
        ["git", "ls-files", "*/guerdon*"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    tracked = {
        path.partition("/")[2]
        for path in listed.stdout.splitlines()
        if path.split("/")[0] in ("client", "protos", "service", "training") and (ROOT / path).exists()
    }
    assert tracked - set(packed) == set()


def test_the_service_carries_its_kernels_compiled(wheels: dict[str, Path], tmp_path: Path) -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("kernels are of Linux on x86-64")
    assert wheels["guerdon-service"].name.endswith(f"-{TAG}.whl")
    with ZipFile(wheels["guerdon-service"]) as archive:
        archive.extractall(tmp_path)
    (installed,) = distributions(path=[str(tmp_path)])
    about = Parser().parsestr(installed.read_text("WHEEL") or "")
    assert (about["Tag"], about["Root-Is-Purelib"]) == (TAG, "false")
    (recorded,) = [file for file in installed.files or () if str(file) == f"{NATIVE}/{LIBRARY}"]
    digest = urlsafe_b64encode(sha256((tmp_path / recorded).read_bytes()).digest()).decode().rstrip("=")
    assert vars(recorded.hash) == {"mode": "sha256", "value": digest}
    assert ctypes.CDLL(str(tmp_path / recorded)).guerdon_take


def test_a_client_alone_works_and_names_what_is_missing(wheels: dict[str, Path], tmp_path: Path) -> None:
    """Without site-packages' editable paths: the wheel, and what it needs, in folders of their own."""
    script = """
import importlib.abc, sys
class Nothing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "transformers", "fastapi", "guerdon_service", "guerdon_training"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing())
sys.path.insert(0, sys.argv.pop(1))
from guerdon.cli.main import main
import guerdon, guerdon.transport.rpc
assert guerdon.__file__.startswith(sys.path[0])
sys.exit(main(sys.argv[1:]))
"""
    for command, extra in (("serve", "serve"), ("train", "train")):
        ran = subprocess.run(
            [sys.executable, "-c", script, wheels["guerdon"], command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 2
        assert f"pip install 'guerdon[{extra}]'" in ran.stderr


def test_nothing_that_the_client_needs_needs_torch(wheels: dict[str, Path]) -> None:
    """The whole closure of what `pip install guerdon` brings, by the metadata of what is installed here."""
    seen: set[str] = set()
    todo = wanted(metadata(wheels["guerdon"]).get_all("Requires-Dist"), set())
    while todo:
        asked = todo.pop()
        if asked.name not in seen:
            seen.add(asked.name)
            todo += wanted(requires(asked.name) or (), asked.extras)
    assert {"grpcio", "httpx", "anyio", "certifi"} <= seen
    assert not seen & {"torch", "transformers", "numpy", "fastapi"}


def wanted(texts: Iterable[str], extras: set[str]) -> list[Requirement]:
    """Of a package's requirements those that this machine and these extras of it ask for."""
    environments = [{"extra": extra} for extra in ("", *extras)]
    asked = map(Requirement, texts)
    return [r for r in asked if r.marker is None or any(map(r.marker.evaluate, environments))]
