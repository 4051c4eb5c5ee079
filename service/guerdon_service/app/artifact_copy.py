"""A copy of an artifact with something changed in it: whole or not there, and under a digest of its own."""

import shutil
from dataclasses import replace
from pathlib import Path

from guerdon_service.artifacts.read import MANIFEST, read_artifact
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest, to_json
from guerdon_service.core.whole_file import write_whole


def home_of(output: Path, artifact: Artifact) -> Path:
    """The folder to write a draft of `output` in: on the same disk, so that a rename completes it.

    Raises:
        InvalidInput: `output` exists, its parent does not, or it lies in the artifact, whose digest it would
            change.
    """
    home = output.absolute().parent
    if output.exists() or not home.is_dir():
        raise InvalidInput(
            f"output {output} exists, or its parent does not; name a new folder in an existing one",
            param="output",
        )
    if home.resolve().is_relative_to(artifact.folder):
        raise InvalidInput(
            f"output {output} lies in the model's own folder; name one outside", param="output"
        )
    return home


def copy_artifact(artifact: Artifact, target: Path, *left_out: str) -> None:
    """Copy what its digest covers to `target`, which must not exist.

    A base that lies elsewhere comes along as ``base/``: an adapter names it by a path that may mean nothing
    from another folder. What a package carries stays there.

    Args:
        left_out: names of files and folders that are not copied.
    """
    ignored = shutil.ignore_patterns(*left_out, ".*", "__pycache__")
    shutil.copytree(artifact.folder, target, ignore=ignored)
    base = artifact.base_folder
    if artifact.manifest.base is None and not base.is_relative_to(artifact.folder):
        shutil.copytree(base, target / "base", ignore=ignored)


def seal(folder: Path, manifest: Manifest) -> Manifest:
    """Write `manifest` with the digest of `folder` as it is now, so that it is another model to every cache.

    Raises:
        InvalidInput: the folder is no artifact.
    """
    write_whole(folder / MANIFEST, to_json(replace(manifest, digest="")))
    sealed = read_artifact(str(folder)).manifest
    write_whole(folder / MANIFEST, to_json(sealed))
    return sealed
