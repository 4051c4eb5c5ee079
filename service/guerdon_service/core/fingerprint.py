"""Digests: of an artifact folder, and of one score."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.manifest import Manifest, to_json

SCORER_VERSION = "1"
"""Raise when the numbers a back end gives for the same artifact and tokens may change."""


@dataclass(frozen=True, slots=True)
class ScorerIdentity:
    """Everything besides the tokens that a raw score depends on."""

    digest: str
    backend: str
    dtype: str
    scorer_version: str = SCORER_VERSION


def manifest_digest(manifest: Manifest) -> str:
    """SHA-256 (hex) of the canonical JSON with a blank `digest`: what `manifest.json` counts as."""
    return hashlib.sha256(to_json(replace(manifest, digest="")).encode()).hexdigest()


def artifact_digest(file_digests: Mapping[str, str]) -> str:
    """SHA-256 (hex) over every file's SHA-256, sorted by relative path, each part length-prefixed.

    Which files: every regular file of the artifact folder, named by its path with ``/``, except where a
    part of the path starts with ``.`` or is ``__pycache__``; ``manifest.json`` counts as
    `manifest_digest`. Where the base model lies in another folder, each of its files counts likewise,
    named ``base/<path>``.
    """
    state = hashlib.sha256()
    for path in sorted(file_digests):
        _add(state, path.encode())
        _add(state, file_digests[path].encode())
    return state.hexdigest()


def fingerprints(identity: ScorerIdentity, tenant: str, batch: Sequence[Encoded]) -> list[bytes]:
    """`fingerprint` of every conversation; what they share is hashed once."""
    shared = hashlib.sha256()
    parts = (identity.digest, identity.backend, identity.dtype, identity.scorer_version, tenant)
    for part in parts:
        _add(shared, part.encode())
    keys = []
    for encoded in batch:
        state = shared.copy()
        _add(state, str(encoded.prefix_len).encode())
        _add(state, encoded.input_ids.astype("<i4").tobytes())
        keys.append(state.digest())
    return keys


def fingerprint(identity: ScorerIdentity, tenant: str, encoded: Encoded) -> bytes:
    """Cache key of one raw score: 32 bytes of SHA-256.

    Canonical and length-prefixed, so no two different inputs share an encoding. Token ids are final,
    which covers template, BOS and truncation; the tenant is a salt, so that hit timing leaks nothing.
    """
    return fingerprints(identity, tenant, [encoded])[0]


def _add(state: "hashlib._Hash", part: bytes) -> None:
    state.update(len(part).to_bytes(8, "little"))
    state.update(part)
