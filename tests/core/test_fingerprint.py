"""Cache keys: equal inputs, equal keys; anything else that a score depends on, another key."""

import hashlib
import json
from dataclasses import fields, replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.fingerprint import (
    ScorerIdentity,
    artifact_digest,
    fingerprint,
    fingerprints,
    manifest_digest,
)
from guerdon_service.core.manifest import Head, Manifest, Profile, from_json, to_json

short = st.text(st.sampled_from("ab1/\0"), max_size=4)
"""Few letters and short, so that a missing length prefix would soon collide."""
identities = st.builds(ScorerIdentity, short, short, short, short, short)
ids = st.lists(st.integers(0, 3) | st.integers(-(2**31), 2**31 - 1), max_size=4)


def encoded(tokens: list[int], prefix_len: int = 1, truncated: bool = False) -> Encoded:
    return Encoded(np.array(tokens, np.int32), prefix_len, truncated)


@given(identities, short, ids, st.integers(0, 20), identities, short, ids, st.integers(0, 20))
def test_keys_are_equal_only_for_equal_inputs(
    one: ScorerIdentity,
    tenant: str,
    tokens: list[int],
    prefix_len: int,
    other: ScorerIdentity,
    other_tenant: str,
    other_tokens: list[int],
    other_prefix_len: int,
) -> None:
    same = (one, tenant, tokens, prefix_len) == (other, other_tenant, other_tokens, other_prefix_len)
    key = fingerprint(one, tenant, encoded(tokens, prefix_len))
    assert (key == fingerprint(other, other_tenant, encoded(other_tokens, other_prefix_len))) == same


@given(st.lists(short, min_size=6, max_size=6), st.data())
def test_moving_a_character_between_fields_changes_the_key(parts: list[str], data: st.DataObject) -> None:
    """What plain concatenation gets wrong: the joined text stays the same."""
    at = data.draw(st.integers(0, 4))
    joined = parts[at] + parts[at + 1]
    cut = data.draw(st.integers(0, len(joined)))
    moved = [*parts[:at], joined[:cut], joined[cut:], *parts[at + 2 :]]
    keys = {fingerprint(ScorerIdentity(*p[:5]), p[5], encoded([1, 2])) for p in (parts, moved)}
    assert len(keys) == (1 if moved == parts else 2)


@given(identities, short, ids, st.sampled_from([f.name for f in fields(ScorerIdentity)]))
def test_every_field_of_the_identity_counts(
    identity: ScorerIdentity, tenant: str, tokens: list[int], name: str
) -> None:
    changed = replace(identity, **{name: getattr(identity, name) + "x"})
    base = fingerprint(identity, tenant, encoded(tokens))
    assert fingerprint(changed, tenant, encoded(tokens)) != base
    assert fingerprint(identity, tenant + "x", encoded(tokens)) != base
    assert fingerprint(identity, tenant, encoded(tokens, prefix_len=2)) != base
    assert fingerprint(identity, tenant, encoded([*tokens, 0])) != base


@given(identities, short, st.lists(st.integers(0, 9), min_size=2, max_size=5, unique=True))
def test_token_order_counts(identity: ScorerIdentity, tenant: str, tokens: list[int]) -> None:
    base = fingerprint(identity, tenant, encoded(tokens))
    assert fingerprint(identity, tenant, encoded(tokens[::-1])) != base


def test_the_memory_layout_of_the_tokens_does_not_count() -> None:
    """A strided, big-endian or truncated-flagged array with the same ids is the same conversation."""
    identity, tokens = ScorerIdentity("d", "torch", "float32"), [5, 6, 7]
    base = fingerprint(identity, "", encoded(tokens))
    strided = np.array([5, 0, 6, 0, 7, 0], np.int32)[::2]
    assert fingerprint(identity, "", Encoded(strided, 1, False)) == base
    assert fingerprint(identity, "", Encoded(np.array(tokens, ">i4"), 1, False)) == base
    assert fingerprint(identity, "", encoded(tokens, truncated=True)) == base


def test_layout_is_as_documented() -> None:
    """An oracle in plain bytes, so that replicas of other builds share the cache."""
    parts = [b"d" * 64, b"torch", b"bfloat16", b"7", b"AVX2", "tënant".encode(), b"2", b"\1\0\0\0\0\1\0\0"]
    joined = b"".join(len(p).to_bytes(8, "little") + p for p in parts)
    identity = ScorerIdentity("d" * 64, "torch", "bfloat16", "7", "AVX2")
    assert fingerprint(identity, "tënant", encoded([1, 256], 2)) == hashlib.sha256(joined).digest()


files = st.dictionaries(short, short, max_size=4)


@given(files, files)
def test_artifact_digests_are_equal_only_for_equal_files(one: dict[str, str], other: dict[str, str]) -> None:
    assert (artifact_digest(one) == artifact_digest(other)) == (one == other)


@given(files)
def test_the_order_of_files_does_not_count(one: dict[str, str]) -> None:
    assert artifact_digest(one) == artifact_digest(dict(reversed(one.items())))


def test_a_manifest_is_digested_without_its_own_digest() -> None:
    manifest = Manifest("m", "1", (Head("h", "h"),), {"default": Profile({"h": 1.0})}, 512)
    base = manifest_digest(manifest)
    assert manifest_digest(replace(manifest, digest="f" * 64)) == base
    assert manifest_digest(replace(manifest, version="2")) != base
    assert manifest_digest(replace(manifest, max_tokens=513)) != base
    assert manifest_digest(replace(manifest, pooling="last")) != base
    assert manifest_digest(replace(manifest, profiles={"default": Profile({"h": 1.0}, 0.5)})) != base


def test_a_field_that_a_later_version_adds_leaves_older_digests_alone() -> None:
    """Written with every field or with those alone that it needs, a manifest is the same."""
    manifest = Manifest("m", "1", (Head("h", "h"),), {"default": Profile({"h": 1.0})}, 512)
    whole = json.loads(to_json(manifest))
    bare = {key: whole[key] for key in ("name", "version", "heads", "profiles", "max_tokens")}
    bare["heads"] = [{"name": "h", "attribute": "h"}]
    assert manifest_digest(from_json(json.dumps(bare))) == manifest_digest(from_json(to_json(manifest)))
    values: dict[str, object] = {"name": "m", "version": "1"}
    values |= {"heads": [{"name": "h", "attribute": "h"}]}
    values |= {"profiles": {"default": {"weights": {"h": 1.0}}}, "max_tokens": 512}
    assert manifest_digest(manifest) == hashlib.sha256(json.dumps(values).encode()).hexdigest()


def test_fingerprints_of_a_batch_are_those_of_its_conversations() -> None:
    identity = ScorerIdentity("d", "torch", "float32")
    batch = [encoded([1, 2, 3]), encoded([1, 2, 3], 2), encoded([4])]
    assert fingerprints(identity, "t", batch) == [fingerprint(identity, "t", e) for e in batch]
    assert fingerprints(identity, "t", []) == []
