"""Hatchling's hook: on Linux x86-64 the wheel carries `backends/native/*.c`, compiled; elsewhere it is pure.

The compiler is Zig's clang, out of a wheel: no machine needs one of its own, and one version gives the same
bytes everywhere. `python service/hatch_build.py` compiles into the source tree, as an editable install does.
"""

import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NATIVE = "guerdon_service/backends/native"
LIBRARY = "libguerdon.so"
TAG = "py3-none-manylinux_2_28_x86_64"
# The oldest x86-64 and an old glibc: what a function needs beyond, it says itself, and who calls it asks the
# CPU. No flag lets the compiler round otherwise than the source says. Zig takes -O3 for -O2.
FLAGS = (
    *("-target", "x86_64-linux-gnu.2.28", "-mcpu=x86_64", "-std=c11", "-O2"),
    *("-fno-math-errno", "-ffp-contract=off", "-fomit-frame-pointer", "-fno-sanitize=undefined"),
    *("-shared", "-fPIC", "-fvisibility=hidden", "-s", "-Wl,--no-undefined"),
    *("-Wall", "-Wextra", "-Werror"),
)


class NativeHook(BuildHookInterface[Any]):
    """What hatchling calls before it builds a wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile for this machine; `version` is `standard` or `editable`."""
        add_library(Path(self.root), version, build_data, platform.system(), platform.machine())


def add_library(root: Path, version: str, build_data: dict[str, Any], system: str, machine: str) -> None:
    """Compile the library of the project at `root`, where the system takes it, into a standard wheel too."""
    if (system, machine) != ("Linux", "x86_64"):
        return
    library = compile_library(root / NATIVE)
    if version == "standard":
        build_data |= {"pure_python": False, "infer_tag": False, "tag": TAG}
        build_data["force_include"][str(library)] = f"{NATIVE}/{LIBRARY}"


def compile_library(folder: Path) -> Path:
    """Compile a folder's C sources into one library beside them; its bytes know no folder and no hour.

    Raises:
        RuntimeError: The compiler refused; with what it said.
    """
    new = folder / f"{LIBRARY}.{os.getpid()}"  # a linker removes what it replaces: others would find none
    sources = sorted(path.name for path in folder.glob("*.c"))
    command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", new.name, *sources]
    with tempfile.TemporaryDirectory() as cache:
        caches = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
        ran = subprocess.run(  # noqa: S603 - our own sources
            command, cwd=folder, env=os.environ | caches, stderr=subprocess.PIPE, text=True, check=False
        )
    if ran.returncode:
        raise RuntimeError(f"the C sources of {NATIVE} do not compile:\n{ran.stderr}")
    return new.replace(folder / LIBRARY)


if __name__ == "__main__":
    add_library(Path(__file__).parent, "editable", {}, platform.system(), platform.machine())
