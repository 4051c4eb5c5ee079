"""What the image holds, built in a clean folder by the Dockerfile's own script."""

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def clean_install(folder: Path) -> Path:
    """Copy what the Dockerfile copies, run its script; the path of the installed command."""
    source, prefix = folder / "src", folder / "guerdon"
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not words[1].startswith("--"):
            *names, target = words[1:]
            for name in names:
                _copy(ROOT / name, source / (target if len(names) == 1 else name))
    # Compiling ahead pays in an image, not here. (To pip the variable is the value of `compile`.)
    environment = os.environ | {"PIP_NO_COMPILE": "0"}
    subprocess.run([source / ".ci" / "install", prefix, "cpu"], env=environment, check=True)
    return prefix / "bin" / "guerdon"


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "libguerdon.so*"))
    else:
        shutil.copy2(source, target)
