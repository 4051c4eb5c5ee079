"""`read_policy`: from a source to a policy whose files were found, digested and checked."""

import hashlib
from pathlib import Path

from guerdon_service.artifacts.digest import file_digests
from guerdon_service.artifacts.read import MANIFEST
from guerdon_service.artifacts.resolve import resolve, resolve_package
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.fingerprint import artifact_digest, manifest_digest
from guerdon_service.core.manifest import Manifest, PackageBase, from_json
from guerdon_service.core.policy_files import PolicyFiles
from guerdon_service.core.whole_file import check_whole


def read_policy(source: str) -> PolicyFiles:
    """Find `source`, digest every file, and check the manifest where there is one.

    Args:
        source: a folder that ``guerdon train`` or ``save_pretrained`` wrote, the import name of an installed
            package that carries one GGUF file, or a hub id ``org/name[@revision]``.

    Raises:
        InvalidInput: not found, not a policy, or changed after its manifest was written.
    """
    if source.isidentifier() and not Path(source).is_dir():
        gguf = _package_gguf(PackageBase(source, "", ""))
        return PolicyFiles(gguf, None, artifact_digest({f"base/{gguf.name}": _sha256(gguf)}))
    folder = resolve(source)
    check_whole(folder)
    path = folder / MANIFEST
    if path.is_file():
        return _sealed(folder, from_json(path.read_text(encoding="utf-8")))
    if not (folder / "config.json").is_file():
        raise InvalidInput(
            f"policy source {folder.name} holds neither manifest.json nor config.json; give a folder that "
            "guerdon train or save_pretrained wrote",
            param="source",
        )
    return PolicyFiles(folder, None, artifact_digest(file_digests(folder)))


def _sealed(folder: Path, manifest: Manifest) -> PolicyFiles:
    if manifest.kind != "policy":
        raise InvalidInput(f"{folder.name} is a {manifest.kind} model; give a policy", param="source")
    digests = file_digests(folder) | {MANIFEST: manifest_digest(manifest)}
    weights = folder
    if manifest.base is not None:
        weights = _package_gguf(manifest.base)
        base_digests = file_digests(weights.parent)
        if base_digests[weights.name] != manifest.base.weights_sha256:
            raise InvalidInput(
                f"package {manifest.base.package} holds other weights than policy {manifest.name} was "
                "trained on (SHA-256 differs); install the version that manifest.base pins",
                param="manifest.base.weights_sha256",
            )
        digests |= {f"base/{name}": digest for name, digest in base_digests.items()}
    digest = artifact_digest(digests)
    if manifest.digest not in ("", digest):
        raise InvalidInput(
            f"policy {manifest.name} was changed after its manifest was written (digest is {digest[:12]}, "
            f"manifest says {manifest.digest[:12]}); restore it, or write it again",
            param="manifest.digest",
        )
    adapter = folder / "adapter"
    return PolicyFiles(weights, adapter if adapter.is_dir() else None, digest)


def _package_gguf(base: PackageBase) -> Path:
    """The one GGUF file that an installed package carries."""
    folder = resolve_package(base)
    found = sorted(folder.glob("*.gguf"))
    if len(found) != 1:
        raise InvalidInput(
            f"package {base.package} carries {len(found)} GGUF files; give one that carries exactly 1",
            param="source",
        )
    return found[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
