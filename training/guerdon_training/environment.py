"""The code and the libraries that an artifact was made with."""

import subprocess
from pathlib import Path

import accelerate
import peft
import torch
import transformers


def environment() -> dict[str, str]:
    """For `manifest.parents`: ``git_revision`` (empty outside a checkout), and versions by library."""
    libraries = (torch, transformers, peft, accelerate)
    return {"git_revision": _git_revision(), **{m.__name__: str(m.__version__) for m in libraries}}


def _git_revision() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
