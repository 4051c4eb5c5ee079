"""Seal an artifact folder: its digest covers every file and the base it stands on."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.fingerprint import artifact_digest, manifest_digest
from guerdon_service.core.manifest import Manifest, check_manifest, to_json
from guerdon_service.core.whole_file import write_whole
from guerdon_training.data import file_sha256

MANIFEST = "manifest.json"
EXPORTED = ("onnx", "torch")
"""Folders that `guerdon export` writes: of the weights and heads that there were."""


def seal(folder: Path, manifest: Manifest, base: Path) -> Manifest:
    """Write `manifest.json` with its digest; every other file must be there already.

    The digest is `core.fingerprint.artifact_digest`, over the folder's files, the blank manifest and the
    base's files under ``base/``.

    Raises:
        InvalidInput: the manifest could not be served.
    """
    check_manifest(manifest)
    sealed = replace(manifest, digest=digest_of(folder, manifest, base))
    write_whole(folder / MANIFEST, to_json(sealed))
    return sealed


def remove_exports(folder: Path) -> None:
    """Remove what `guerdon export` wrote for the model that was there before."""
    for exported in EXPORTED:
        shutil.rmtree(folder / exported, ignore_errors=True)


def tidy_adapter(folder: Path) -> None:
    """Leave of what PEFT saved what is the same each time, as the digest is to be.

    It writes sets, in an order that changes from process to process, and an empty template of a README.
    """
    (folder / "README.md").unlink(missing_ok=True)  # MODEL_CARD.md is the card
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text("utf-8"))
    names = {k: sorted(v) for k, v in config.items() if isinstance(v, list) and {type(x) for x in v} == {str}}
    write_whole(path, json.dumps(config | names, indent=2, sort_keys=True))


def digest_of(folder: Path, manifest: Manifest, base: Path | None) -> str:
    """What `manifest.digest` must be for this folder and, where it lies elsewhere, this base."""
    digests = {name: file_sha256(path) for name, path in _files(folder).items() if name != MANIFEST}
    if base is not None:
        digests |= {f"base/{name}": file_sha256(path) for name, path in _files(base).items()}
    return artifact_digest(digests | {MANIFEST: manifest_digest(manifest)})


def check_seal(folder: Path, manifest: Manifest, base: Path | None) -> None:
    """Refuse files that are not those `manifest` was sealed with: lineages name them by its digest.

    Raises:
        InvalidInput: they differ. A manifest without a digest was never sealed, and passes.
    """
    if manifest.digest not in ("", digest_of(folder, manifest, base)):
        raise InvalidInput(
            f"artifact {folder} was changed after its manifest was written; restore it, or write it again",
            param="manifest.digest",
        )


def _files(folder: Path) -> dict[str, Path]:
    """Regular files by relative path, hidden ones and byte code left out."""
    found = {p.relative_to(folder): p for p in sorted(folder.rglob("*")) if p.is_file()}
    hidden = [r for r in found if any(part.startswith(".") or part == "__pycache__" for part in r.parts)]
    return {r.as_posix(): p for r, p in found.items() if r not in hidden}
