"""Raw heads to a reward, against numpy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerdon_service.core.combine import combine
from guerdon_service.core.manifest import Head, Manifest, Norm, Profile
from guerdon_service.core.result import Score

floats32 = st.floats(-1e4, 1e4, width=32)
norms = st.builds(Norm, mean=st.floats(-100, 100), std=st.floats(0.01, 100))


def manifest(heads: tuple[Head, ...], profile: Profile) -> Manifest:
    return Manifest("m", "1", heads, {"default": profile}, max_tokens=64)


def score(raw: list[float], heads: tuple[Head, ...], profile: Profile) -> Score:
    raws = np.array(raw, np.float32)
    return combine(raws, manifest(heads, profile), profile, tokens=5, truncated=True, cached=False)


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[float], tuple[Head, ...], Profile]:
    attributes = draw(st.lists(st.sampled_from(["help", "harm", "brand"]), min_size=1, max_size=6))
    heads = tuple(Head(f"h{i}", a, draw(norms)) for i, a in enumerate(attributes))
    weighed = draw(st.sets(st.sampled_from(attributes), min_size=1))
    profile = Profile({a: draw(st.floats(-10, 10)) for a in sorted(weighed)}, draw(st.floats(0, 5)))
    return [draw(floats32) for _ in heads], heads, profile


@given(cases())
def test_agrees_with_numpy(case: tuple[list[float], tuple[Head, ...], Profile]) -> None:
    raw, heads, profile = case
    got = score(raw, heads, profile)
    mean, std = (np.array([getattr(h.norm, name) for h in heads]) for name in ("mean", "std"))
    normalised = (np.array(raw, np.float32).astype(np.float64) - mean) / std
    total = variance = 0.0
    for attribute in {h.attribute for h in heads}:
        values = normalised[[h.attribute == attribute for h in heads]]
        assert got.attributes[attribute] == pytest.approx(values.mean(), rel=1e-9, abs=1e-9)
        weight = profile.weights.get(attribute, 0.0)
        total += weight * values.mean()
        variance += weight**2 * (values.var(ddof=1) if len(values) > 1 else 0.0)
    assert got.std == pytest.approx(np.sqrt(variance), rel=1e-6, abs=1e-6)
    assert got.reward == pytest.approx(total - profile.conservatism * np.sqrt(variance), rel=1e-6, abs=1e-5)


@given(cases())
def test_raw_is_exactly_what_the_model_gave(case: tuple[list[float], tuple[Head, ...], Profile]) -> None:
    raw, heads, profile = case
    got = score(raw, heads, profile)
    assert got.raw == {h.name: float(np.float32(v)) for h, v in zip(heads, raw, strict=True)}
    assert (got.tokens, got.truncated, got.cached) == (5, True, False)


@given(floats32)
def test_a_plain_model_is_not_touched(value: float) -> None:
    """One head, no normalisation, weight one: the reward is the raw score, bit for bit."""
    got = score([value], (Head("r", "r"),), Profile({"r": 1.0}))
    assert got.reward == value
    assert got.std == 0.0


def test_a_worked_example() -> None:
    """Two members (1 and 3 after normalising) of `help`, one head of `harm`; k = 0.5."""
    heads = (Head("a", "help", Norm(10, 2)), Head("b", "help"), Head("c", "harm"))
    got = score([12.0, 3.0, -4.0], heads, Profile({"help": 2.0, "harm": 0.25}, conservatism=0.5))
    assert got.attributes == {"help": 2.0, "harm": -4.0}
    assert got.std == pytest.approx(2 * np.sqrt(2))
    assert got.reward == pytest.approx(2 * 2.0 - 1.0 - 0.5 * 2 * np.sqrt(2))


@given(cases(), st.data())
def test_deviations_of_two_scores_give_the_spread_of_the_members_margins(
    case: tuple[list[float], tuple[Head, ...], Profile], data: st.DataObject
) -> None:
    """Oracle: numpy on the margins themselves, member by member."""
    raw, heads, profile = case
    other = [data.draw(floats32) for _ in heads]
    a, b = score(raw, heads, profile), score(other, heads, profile)
    margins = (np.array(raw) - np.array(other)) / np.array([h.norm.std for h in heads])
    variance = 0.0
    for attribute, weight in profile.weights.items():
        own = margins[[h.attribute == attribute for h in heads]]
        variance += weight**2 * (own.var(ddof=1) if len(own) > 1 else 0.0)
    assert math.dist(a.deviations, b.deviations) == pytest.approx(np.sqrt(variance), rel=1e-6, abs=1e-6)


def test_attributes_outside_the_profile_are_shown_and_do_not_count() -> None:
    heads = (Head("a", "help"), Head("b", "harm"), Head("c", "harm"))
    got = score([1.0, 5.0, 9.0], heads, Profile({"help": 1.0}, conservatism=3.0))
    assert got.attributes == {"help": 1.0, "harm": 7.0}
    assert (got.reward, got.std) == (1.0, 0.0)


@given(cases())
def test_conservatism_only_lowers(case: tuple[list[float], tuple[Head, ...], Profile]) -> None:
    raw, heads, profile = case
    bold = score(raw, heads, Profile(profile.weights))
    assert score(raw, heads, profile).reward <= bold.reward


def test_a_head_too_few_is_our_bug_and_not_a_score() -> None:
    with pytest.raises(ValueError, match="zip"):
        score([1.0], (Head("a", "x"), Head("b", "y")), Profile({"x": 1.0}))
