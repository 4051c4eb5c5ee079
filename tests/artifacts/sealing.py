"""Artifact folders for tests, sealed by the rule that `core.fingerprint.artifact_digest` states."""

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from guerdon_service.core.fingerprint import artifact_digest, manifest_digest
from guerdon_service.core.manifest import Head, Manifest, PackageBase, Profile, to_json


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def reward_manifest(base: PackageBase | None = None) -> Manifest:
    head = Head("reward", "reward")
    profiles = {"default": Profile({"reward": 1.0})}
    return Manifest("tiny", "1.0", (head,), profiles, max_tokens=64, encoding="pair", base=base)


def seal(folder: Path, manifest: Manifest, base: Path | None = None) -> Manifest:
    """Write `manifest.json` with its digest over `folder`, and over `base` where that lies elsewhere."""
    files = {name: sha256(folder / name) for name in _names(folder) if name != "manifest.json"}
    if base is not None:
        files |= {f"base/{name}": sha256(base / name) for name in _names(base)}
    sealed = replace(manifest, digest=artifact_digest(files | {"manifest.json": manifest_digest(manifest)}))
    (folder / "manifest.json").write_text(to_json(sealed))
    return sealed


def _names(folder: Path) -> Iterable[str]:
    return [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
