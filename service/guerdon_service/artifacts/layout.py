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


def find_layout(folder: Path, manifest: Manifest | None, within: Path | None = None) -> Layout:
    """Adapter: ``adapter/``, or the folder itself with a PEFT ``adapter_config.json``.

    Base: the manifest's package, else ``base/``, else the folder itself if it has a ``config.json``, else
    what the adapter names as its base (a folder, relative to the adapter's, or a hub id).

    Args:
        within: folder that a base must lie in which the adapter names by its path; None: it may lie anywhere.

    Raises:
        InvalidInput: a base that is not there or outside, or a folder with neither a model nor an adapter.
    """
    adapter = next((f for f in (folder / "adapter", folder) if (f / "adapter_config.json").is_file()), None)
    if manifest is not None and manifest.base is not None:
        base = resolve_package(manifest.base)
    elif (folder / "base").is_dir():
        base = folder / "base"
    elif (folder / "config.json").is_file() and adapter != folder:
        base = folder
    elif adapter is not None:
        base = _base_of(adapter, within)
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


def _base_of(adapter: Path, within: Path | None) -> Path:
    named = read_json(adapter / "adapter_config.json").get("base_model_name_or_path")
    if not named or not isinstance(named, str):
        raise InvalidInput(
            "adapter_config.json names no base_model_name_or_path; set it to the base model's folder",
            param="base_model_name_or_path",
        )
    folders = (adapter / named, Path(named).expanduser())
    base = next((folder.resolve() for folder in folders if folder.is_dir()), None)
    if base is None:
        return resolve(named)
    if within is not None and not base.is_relative_to(within.resolve()):
        raise InvalidInput(
            "adapter_config.json names a base outside the model store; put the base into the store and name "
            "it relative to the adapter's folder, or name a hub id",
            param="base_model_name_or_path",
        )
    return base
