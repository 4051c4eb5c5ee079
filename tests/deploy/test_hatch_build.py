"""C kernels are compiled where the service's wheel is built, by a compiler that pip brings."""

import os
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from hatch_build import LIBRARY, NATIVE, add_library, compile_library

ROOT = Path(__file__).parents[2]
SERVICE = ROOT / "service"
EXPORTED = '__attribute__((visibility("default")))'
SOURCES = {
    name: f"{EXPORTED} const char *{name}(void) {{ return __FILE__; }}\n" for name in ("first", "second")
}

compiles_here = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="kernels are of Linux on x86-64"
)


def project(root: Path, **sources: str) -> Path:
    """The service's build on a package that holds these C sources alone."""
    (root / NATIVE).mkdir(parents=True)
    for name in ("pyproject.toml", "hatch_build.py"):
        shutil.copy(SERVICE / name, root)
    (root / "guerdon_service" / "__init__.py").touch()
    for name, text in sources.items():
        (root / NATIVE / f"{name}.c").write_text(text)
    return root


def build(root: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Hatchling's own command; the wheel goes to `root / "dist"`."""
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", "dist"],
        cwd=root,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def editable(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A project after the hook of an editable build, and the build's data."""
    data: dict[str, Any] = {"force_include": {}}
    root = project(tmp_path_factory.mktemp("editable"), **SOURCES)
    add_library(root, "editable", data, "Linux", "x86_64")
    return root, data


@compiles_here
def test_an_editable_build_leaves_it_in_the_tree_alone(editable: tuple[Path, dict[str, Any]]) -> None:
    root, data = editable
    assert sorted(path.name for path in (root / NATIVE).iterdir()) == ["first.c", LIBRARY, "second.c"]
    assert data == {"force_include": {}}


@compiles_here
def test_the_same_sources_are_the_same_bytes_in_any_folder_and_no_cache_stays(
    editable: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, _ = editable
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    elsewhere = project(tmp_path / "deeper" / "down", **SOURCES)
    found = compile_library(elsewhere / NATIVE).read_bytes()
    assert found == (root / NATIVE / LIBRARY).read_bytes()
    assert b"first.c" in found, "a source that asks for its name gets no more than that"
    assert os.fsencode(tmp_path) not in found
    assert [path.name for path in tmp_path.iterdir()] == ["deeper"]


@compiles_here
@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("int kernel(int unused) { return 1; }\n", "kernel.c:1:16: error: unused parameter 'unused'"),
        (f"int no(void);\n{EXPORTED} int kernel(void) {{ return no(); }}\n", "undefined symbol: no"),
    ],
    ids=["compiler", "linker"],
)
def test_what_does_not_compile_is_no_wheel(source: str, said: str, tmp_path: Path) -> None:
    root = project(tmp_path, kernel=source)
    old = root / NATIVE / LIBRARY
    old.write_bytes(b"that of before")
    built = build(root)
    assert built.returncode != 0
    assert said in built.stderr
    assert not list(root.glob("dist/*.whl"))
    assert sorted(path.name for path in old.parent.iterdir()) == ["kernel.c", LIBRARY]
    assert old.read_bytes() == b"that of before"


@pytest.mark.parametrize("system", [("Linux", "aarch64"), ("Darwin", "arm64"), ("Darwin", "x86_64")])
def test_elsewhere_nothing_is_compiled(system: tuple[str, str], tmp_path: Path) -> None:
    root = project(tmp_path, kernel="no C at all")
    data: dict[str, Any] = {"force_include": {}}
    add_library(root, "standard", data, *system)
    assert data == {"force_include": {}}
    assert not (root / NATIVE / LIBRARY).exists()


def test_without_the_hook_a_wheel_is_pure_whatever_lies_in_the_tree(tmp_path: Path) -> None:
    """As in an image for arm64 that is built on a machine whose tree has a library."""
    root = project(tmp_path, kernel="no C at all")
    (root / NATIVE / LIBRARY).write_bytes(b"of another machine")
    assert build(root, HATCH_BUILD_NO_HOOKS="true").returncode == 0
    (path,) = root.glob("dist/*-py3-none-any.whl")
    names = ZipFile(path).namelist()
    assert f"{NATIVE}/kernel.c" in names
    assert f"{NATIVE}/{LIBRARY}" not in names


def test_a_build_and_the_tests_take_the_same_compiler() -> None:
    needed = tomllib.loads((SERVICE / "pyproject.toml").read_text())["build-system"]["requires"]
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    (compiler,) = [text for text in needed if text.startswith("ziglang")]
    assert re.match(r"ziglang==[0-9.]+;", compiler), "another version gives other bytes"
    assert compiler in dev


def test_setup_compiles_after_a_change_of_any_source_and_installs_nothing() -> None:
    sources = [
        "service/hatch_build.py",
        *(str(p.relative_to(ROOT)) for p in (SERVICE / NATIVE).glob("*.[ch]")),
    ]
    # `make test` hands its own flags and level down, by which another make says where it is
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    for changed in sources:
        old = [f"--old-file={path}" for path in (".venv/.guerdon-setup", *sources) if path != changed]
        make = ["make", "--dry-run", *old, f"--what-if={changed}", "setup"]
        said = subprocess.run(make, cwd=ROOT, env=alone, capture_output=True, text=True, check=True).stdout
        assert said == ".venv/bin/python service/hatch_build.py\n", changed
