"""Digests: of an artifact folder, and of one score."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from typing import Any

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.manifest import Manifest

SCORER_VERSION = "2"
"""Raise when the numbers a back end gives for the same artifact and tokens may change."""


@dataclass(frozen=True, slots=True)
class ScorerIdentity:
    """Everything besides the tokens that a raw score depends on.

    arithmetic: what computes it, see `core.ports.MachineBackend`; replicas on machines of several kinds share
        a cache, and no scores.
    """

    digest: str
    backend: str
    dtype: str
    scorer_version: str = SCORER_VERSION
    arithmetic: str = ""


def manifest_digest(manifest: Manifest) -> str:
    """SHA-256 (hex) of what `manifest.json` states, its `digest` left out: what it counts as.

    Fields at their default are left out too, at any depth, so that a field that a later version adds leaves
    the digests of older artifacts as they are.
    """
    return hashlib.sha256(json.dumps(_stated(replace(manifest, digest=""))).encode()).hexdigest()


def _stated(value: Any) -> Any:
    """`value` as plain JSON values, without what it only has by default."""
    if is_dataclass(value) and not isinstance(value, type):
        return {
            f.name: _stated(getattr(value, f.name))
            for f in fields(value)
            if getattr(value, f.name) != _default(f)
        }
    if isinstance(value, Mapping):
        return {key: _stated(v) for key, v in value.items()}
    if isinstance(value, tuple | list):
        return [_stated(v) for v in value]
    return value


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


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
    parts = (identity.digest, identity.backend, identity.dtype, identity.scorer_version, identity.arithmetic)
    for part in (*parts, tenant):
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
