"""Which folder of an artifact holds what."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guerdon_service.artifacts.resolve import resolve, resolve_package
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Layout:
    """Folders as in `core.artifact.Artifact`."""

    folder: Path
    base_folder: Path
    adapter_folder: Path | None


def find_layout(folder: Path, manifest: Manifest | None) -> Layout:
    """Adapter: ``adapter/``, or the folder itself with a PEFT ``adapter_config.json``.

    Base: the manifest's package, else ``base/``, else the folder itself if it has a ``config.json``, else
    what the adapter names as its base (a folder, relative to the adapter's, or a hub id).

    Raises:
        InvalidInput: a base that is not there, or a folder with neither a model nor an adapter.
    """
    adapter = next((f for f in (folder / "adapter", folder) if (f / "adapter_config.json").is_file()), None)
    if manifest is not None and manifest.base is not None:
        base = resolve_package(manifest.base)
    elif (folder / "base").is_dir():
        base = folder / "base"
    elif (folder / "config.json").is_file() and adapter != folder:
        base = folder
    elif adapter is not None:
        base = _base_of(adapter)
    else:
        raise InvalidInput(
            f"{folder.name} holds no config.json and no adapter_config.json; give a folder that "
            "save_pretrained or guerdon train wrote",
            param="source",
        )
    return Layout(folder, base, adapter)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InvalidInput: absent, or not a JSON object.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise InvalidInput(
            f"{path.name} of {path.parent.name} cannot be read ({type(err).__name__}); write it again",
            param="source",
        ) from err
    if not isinstance(data, dict):
        raise InvalidInput(
            f"{path.name} of {path.parent.name} is no JSON object; write it again", param="source"
        )
    return data


def _base_of(adapter: Path) -> Path:
    named = read_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    if not named or not isinstance(named, str):
        raise InvalidInput(
            "adapter_config.json names no base_model_name_or_path; set it to the base model's folder",
            param="base_model_name_or_path",
        )
    beside = adapter / named
    return beside.resolve() if beside.is_dir() else resolve(named)
