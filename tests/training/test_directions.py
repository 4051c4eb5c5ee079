"""Both directions of refusing, and the calibration of a profile, against figures counted by hand."""

import numpy as np
import pytest

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Head, Norm, Profile
from guerdon_training.data import PreferencePair
from guerdon_training.directions import directions, profile_metrics
from guerdon_training.measure import Scored, calibration_figures, fit_calibration
from guerdon_training.tagging import Tagged

HEADS = (Head("a", "a", Norm(0.0, 2.0)), Head("b", "b", Norm(5.0, 1.0)))
PROFILES = {"both": Profile({"a": 0.5, "b": 0.5}), "b": Profile({"b": 1.0})}


def scored(prompt: str, subset: str, a: float, b: float, source: str = "xstest", head: int = 1) -> Scored:
    pair = PreferencePair(f"{prompt}{subset}{a}", (Message("user", prompt),), "x", "y", source, subset)
    return Scored(Tagged(pair, head), np.array([[a, b], [0.0, 0.0]]))


PAIRS = [
    scored("one", "homonyms", 4.0, -1.0),  # both: 4 / 2 - 1 > 0
    scored("two", "homonyms", 1.0, -1.0),  # both: 1 / 2 - 1 < 0
    scored("three", "contrast_homonyms", -1.0, 3.0),
]
UNTAGGED = scored("four", "homonyms", -9.0, 9.0, source="other")


def test_each_direction_is_counted_for_each_profile() -> None:
    found = directions([*PAIRS, UNTAGGED], HEADS, PROFILES)
    values = {(d, p): f["accuracy"]["value"] for d, by in found.items() for p, f in by.items()}
    assert values == {
        ("comply", "both"): 0.5,
        ("comply", "b"): 0.0,
        ("refuse", "both"): 1.0,
        ("refuse", "b"): 1.0,
    }
    assert found["comply"]["both"]["num_pairs"] == found["comply"]["both"]["num_prompts"] == 2
    assert found["refuse"]["b"]["accuracy"]["low"] < 1.0


def test_a_pair_that_was_refused_counts_one_half_and_a_missing_direction_is_left_out() -> None:
    refused = Scored(PAIRS[2].tagged, None)
    found = directions([refused, UNTAGGED], HEADS, PROFILES)
    assert set(found) == {"refuse"}
    assert found["refuse"]["both"]["accuracy"]["value"] == 0.5


def test_without_a_tagged_source_nothing_is_said_of_directions() -> None:
    calibration = Calibration(1.0, 0.1, 2)
    assert set(profile_metrics([UNTAGGED, UNTAGGED], HEADS, PROFILES, calibration)) == {"calibration"}
    assert set(profile_metrics(PAIRS, HEADS, PROFILES, calibration)) == {"calibration", "directions"}


def test_the_calibration_error_of_a_coin_that_claims_to_know() -> None:
    """Pairs with margins from 1 to 1.2, for the preferred side and for the other, half of them each."""
    margins = np.repeat(np.linspace(1.0, 1.2, 200), 2) * np.tile([1.0, -1.0], 200)
    pairs = [scored(str(i), "s", 2.0 * margin, 0.0, head=0) for i, margin in enumerate(margins)]
    found = calibration_figures(pairs, HEADS, {"a": 1.0}, Calibration(2.0, 0.1, 400))
    sure = 1.0 / (1.0 + np.exp(-2.0 * np.abs(margins)))
    assert found["num_pairs"] == 400
    assert found["ece"]["value"] == pytest.approx(sure.mean() - 0.5, abs=0.02)
    assert found["brier"]["value"] == pytest.approx((sure**2 + (1.0 - sure) ** 2).mean() / 2)


def test_a_profile_is_calibrated_on_the_pairs_that_it_is_meant_for() -> None:
    """Head b's pairs contradict profile a on every margin, and say nothing about it."""
    random = np.random.default_rng(5)
    size = np.abs(random.normal(size=400)) + 0.1
    margins = np.where(random.random(400) < 1.0 / (1.0 + np.exp(-size)), size, -size)
    own = [scored(f"a{i}", "s", m, 0.0, head=0) for i, m in enumerate(margins)]
    others = [scored(f"b{i}", "s", -3.0, 0.0) for i in range(400)]
    alone = fit_calibration(own, HEADS, {"a": 1.0})
    assert fit_calibration(own + others, HEADS, {"a": 1.0}) == alone
    with pytest.raises(InvalidInput, match="better than chance"):
        fit_calibration(own + others, HEADS, {"a": 1.0, "b": 0.01})
