"""Where an artifact or its base lies on this machine."""

import importlib.util
import re
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import PackageBase
from guerdon_service.core.weights_package import install_command

DEFAULT_MODEL = Path(__file__).resolve().parent.parent / "models" / "default"
"""The artifact that ships inside the package."""
DEFAULT_NAME = "guerdon-minilm"
"""What it is called where it is served without another name."""

_HUB_ID = re.compile(r"(?P<repo>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[\w./-]+))?")

_PATTERNS = ["*.safetensors", "*.json", "*.jsonl", "*.txt", "*.md", "*.model", "*.jinja"]
_PATTERNS += ["onnx/fp32.onnx*", "onnx/int8.onnx*"]
"""What is fetched from a hub: never pickles, never code."""


def resolve(source: str) -> Path:
    """Folder of `source`: an existing folder, a hub id ``org/name`` or ``org/name@revision``, or ``default``.

    See `is_default`. A hub id comes from the local hub cache, or the network where there is one.

    Raises:
        InvalidInput: neither a folder nor a hub id that can be fetched.
    """
    folder = DEFAULT_MODEL if is_default(source) else Path(source).expanduser()
    if folder.is_dir():
        return folder.resolve()
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise InvalidInput(
            f"model source {source!r} is no folder and no hub id; give a folder or org/name[@revision], or "
            "default for the model that ships with the service",
            param="source",
        )
    return _snapshot(match["repo"], match["revision"])


def is_default(source: str) -> bool:
    """Whether `source` means `DEFAULT_MODEL`: ``default``, its name, or its folder.

    A folder that is called so comes first.
    """
    folder = Path(source).expanduser()
    return folder.resolve() == DEFAULT_MODEL if folder.is_dir() else source in ("default", DEFAULT_NAME)


def resolve_package(base: PackageBase) -> Path:
    """Folder of base weights inside an installed package, which is found and never imported.

    Raises:
        InvalidInput: the package is not installed, or has no such folder.
    """
    # A dotted name would make find_spec import the parent package.
    spec = importlib.util.find_spec(base.package) if base.package.isidentifier() else None
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInput(
            f"manifest.base.package {base.package!r} is not installed; run {install_command(base.package)}",
            param="manifest.base.package",
        )
    root = Path(spec.submodule_search_locations[0]).resolve()
    folder = (root / base.subfolder).resolve()
    if not folder.is_dir() or not folder.is_relative_to(root):
        raise InvalidInput(
            f"manifest.base.subfolder {base.subfolder!r} is no folder of package {base.package}; correct it, "
            "or install the version of the package that it was written for",
            param="manifest.base.subfolder",
        )
    return folder


def _snapshot(repo: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download  # only here is a network client needed

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=_PATTERNS))
    except Exception as err:  # the client's own tree, its HTTP library's and OSError
        at = f"{repo}@{revision}" if revision else repo
        raise InvalidInput(
            f"model source {at!r} is no folder here and could not be fetched from the hub "
            f"({type(err).__name__}); check the id and the network, or give a local folder, or default for "
            "the model that ships with the service",
            param="source",
        ) from err
