"""A manifest survives its file, and one that cannot be served is refused by name."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.fingerprint import manifest_digest
from guerdon_service.core.manifest import Head, Manifest, Norm, PackageBase, Profile, from_json, to_json

NAME = st.text(min_size=1, max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.floats(min_value=1e-6, max_value=1e6)
JSON = st.recursive(
    st.none() | st.booleans() | FINITE | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = draw(st.lists(NAME, min_size=1, max_size=4, unique=True))
    attributes = draw(st.lists(st.sampled_from(names), min_size=len(names), max_size=len(names)))
    norms = st.builds(Norm, FINITE, POSITIVE)
    weights = st.dictionaries(st.sampled_from(attributes), FINITE, max_size=3)
    return Manifest(
        name=draw(NAME),
        version=draw(NAME),
        heads=tuple(Head(n, a, draw(norms)) for n, a in zip(names, attributes, strict=True)),
        profiles=draw(st.dictionaries(NAME, st.builds(Profile, weights, FINITE), min_size=1, max_size=3)),
        max_tokens=draw(st.integers(8, 10**6)),
        kind=draw(st.sampled_from(["reward", "policy"])),
        digest=draw(st.text("0123456789abcdef", max_size=64)),
        encoding=draw(st.sampled_from(["template", "pair"])),
        pooling=draw(st.sampled_from(["model", "last", "response"])),
        num_layers=draw(st.none() | st.integers(1, 99)),
        template=draw(st.none() | st.text()),
        base=draw(st.none() | st.builds(PackageBase, NAME, NAME, NAME)),
        calibration=draw(st.builds(Calibration, POSITIVE, POSITIVE, st.integers(0, 10**9))),
        parents=draw(st.dictionaries(NAME, JSON, max_size=3)),
        metrics=draw(st.dictionaries(NAME, JSON, max_size=3)),
        inferred=tuple(draw(st.lists(st.text(), max_size=3))),
    )


@given(manifests())
def test_a_manifest_survives_its_file(manifest: Manifest) -> None:
    text = to_json(manifest)
    assert from_json(text) == manifest
    assert to_json(from_json(text)) == text


@given(manifests(), manifests())
def test_the_digest_covers_all_but_itself(a: Manifest, b: Manifest) -> None:
    def without_digest(m: Manifest) -> dict[str, Any]:
        return {k: v for k, v in json.loads(to_json(m)).items() if k != "digest"}

    assert (manifest_digest(a) == manifest_digest(b)) == (without_digest(a) == without_digest(b))


def small() -> dict[str, Any]:
    head = Head("reward", "reward")
    manifest = Manifest("tiny", "1", (head,), {"default": Profile({"reward": 1.0})}, max_tokens=64)
    data: dict[str, Any] = json.loads(to_json(manifest))
    return data


def setting(**changes: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda data: data | changes


@pytest.mark.parametrize(
    ("change", "param"),
    [
        (setting(format="guerdon/2"), "manifest.format"),
        (setting(kind="judge"), "manifest.kind"),
        (setting(encoding="guess"), "manifest.encoding"),
        (setting(pooling="mean"), "manifest.pooling"),
        (setting(num_layers=0), "manifest.num_layers"),
        (setting(max_tokens=7), "manifest.max_tokens"),
        (setting(max_tokens="64"), "manifest.max_tokens"),
        (setting(heads=[]), "manifest.heads"),
        (setting(heads=[{"name": "a", "attribute": "a"}] * 2), "manifest.heads"),
        (setting(heads=[{"name": "a", "attribute": "reward", "norm": {"std": 0}}]), "manifest.heads.norm"),
        (setting(profiles={}), "manifest.profiles"),
        (setting(profiles={"default": {"weights": {"tone": 1}}}), "manifest.profiles"),
        (setting(calibration={"slope": 0}), "manifest.calibration"),
        (setting(heads=[{"name": "a", "attribute": "reward", "norm": {"mean": "0"}}]), "manifest.heads.norm"),
        (setting(profiles={"default": {"weights": {"reward": "1"}}}), "manifest.profiles"),
        (setting(profiles={"default": {"weights": ["reward"]}}), "manifest"),
        (setting(profiles={"default": {"weights": {"reward": 10**400}}}), "manifest.profiles"),
        *(
            (
                setting(profiles={"default": {"weights": {"reward": 1}, "conservatism": k}}),
                "manifest.profiles",
            )
            for k in (float("nan"), float("inf"), "0.5", None)
        ),
        (setting(calibration={"slope": float("nan")}), "manifest.calibration"),
        (setting(calibration={"slope": "1"}), "manifest.calibration"),
        (setting(calibration={"num_pairs": "many"}), "manifest.calibration"),
        (setting(calibration={"num_pairs": -1}), "manifest.calibration"),
        *(
            (setting(calibration={"slope_se": se}), "manifest.calibration")
            for se in (float("nan"), float("inf"), -0.1, "0")
        ),
        (setting(implicit={"beta": "0.1"}, encoding="completion"), "manifest.implicit"),
        (setting(implicit={"beta": 0.1}), "manifest.implicit"),
        (setting(implicit={"beta": 0.0}, encoding="completion"), "manifest.implicit"),
        (setting(implicit={"beta": 0.1}, encoding="completion", kind="policy"), "manifest.implicit"),
        (setting(implicit={"per_token": True}, encoding="completion"), "manifest"),
        (setting(surprise=1), "manifest"),
        (lambda data: {k: v for k, v in data.items() if k != "heads"}, "manifest"),
        (lambda data: {k: v for k, v in data.items() if k != "version"}, "manifest"),
        (setting(heads="reward"), "manifest"),
        (setting(base={"package": "x"}), "manifest"),
        (lambda data: [data], "manifest"),
    ],
)
def test_a_manifest_that_cannot_be_served_is_refused(change: Callable[[Any], Any], param: str) -> None:
    assert from_json(json.dumps(small())).name == "tiny"
    with pytest.raises(InvalidInput) as caught:
        from_json(json.dumps(change(small())))
    assert caught.value.param == param


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"manifest\.json cannot be read"):
        from_json("{")


def test_an_unknown_profile_names_those_that_exist() -> None:
    manifest = from_json(json.dumps(small()))
    assert manifest.profile(None) == ("default", Profile({"reward": 1.0}))
    with pytest.raises(InvalidInput, match="use one of default") as caught:
        manifest.profile("house")
    assert caught.value.param == "profile"
