"""What the gate asks of evaluations: the one that is named, the others, and the data."""

from dataclasses import replace

import pytest

from guerdon_service.core.evaluation import Evaluation, EvaluationQuery
from guerdon_service.core.manifest import Profile
from tests.fakes import manifest
from tests.registry.test_gate import HELD_OUT, TRAIN, VALID, elsewhere, evaluated, good, told, version


@pytest.mark.parametrize(
    "other",
    [
        elsewhere(-0.010, 0.005),  # not worse by the margin that the gate allows, whatever it was asked with
        elsewhere(-0.05, 0.06),
        replace(elsewhere(-0.05, 0.02), dataset_sha256=HELD_OUT),
        elsewhere(-0.05, 0.02, candidate_digest="x"),
        elsewhere(-0.05, 0.02, baseline_digest="x"),
        elsewhere(-0.05, 0.02, state="failed"),
        elsewhere(-0.05, 0.02, query=EvaluationQuery("m@2", "other.jsonl", "m", profile="both")),
        elsewhere(-0.50, 0.30, num_prompts=19),  # which the gate would not take for it either
        replace(elsewhere(-0.05, 0.02), report={}),
    ],
)
def test_other_evaluations_that_say_nothing_against_it(other: Evaluation) -> None:
    assert told(replace(good(), others=(other,)))["other evaluations"].passed


def test_an_evaluation_that_speaks_against_it_is_found_where_none_is_named() -> None:
    check = told(replace(good(), evaluation=None, others=(elsewhere(-0.05, 0.02),)))["other evaluations"]
    assert check.passed is False


@pytest.mark.parametrize("profile", [None, "quality"])
def test_the_default_profile_may_be_named(profile: str | None) -> None:
    query = EvaluationQuery("m@2", "held-out.jsonl", "m", profile=profile, margin=0.02)
    assert told(evaluated(query=query))["evaluation"].passed


def test_a_profile_that_was_the_default_of_the_incumbent_alone_is_refused() -> None:
    query = EvaluationQuery("m@2", "held-out.jsonl", "m", profile="quality", margin=0.02)
    quality, both = Profile({"quality": 1.0}), Profile({"quality": 0.5, "brevity": 0.5})
    turned = manifest("m", version="2", digest="digest-2", profiles={"both": both, "quality": quality})
    check = told(replace(evaluated(query=query), on_disk=turned))["evaluation"]
    assert check.passed is False and check.detail.endswith("not the default of the candidate")


@pytest.mark.parametrize(
    ("digests", "passed"),
    [
        ({"contest.jsonl": HELD_OUT}, None),  # by file name, which says nothing: "test" is in it
        ({"held_out.jsonl": HELD_OUT}, None),
        ({"prefs_latest.jsonl": TRAIN}, True),
        ({"train": TRAIN, "contest": HELD_OUT}, False),
        ({"train": HELD_OUT, "test": HELD_OUT}, False),
    ],
)
def test_leakage_goes_by_split(digests: dict[str, str], passed: bool | None) -> None:
    assert told(replace(good(), candidate=version("2", data_sha256=digests)))["leakage"].passed is passed


def test_the_data_of_a_head_that_was_added_later_counts_too() -> None:
    head = {"data_sha256": {"train": HELD_OUT}}
    for heads in (head, {"data_sha256": {"train": VALID}, "head": head}):
        added = version("2", data_sha256={"train": TRAIN, "test": HELD_OUT}, head=heads)
        assert told(replace(good(), candidate=added))["leakage"].passed is False


def test_the_data_that_calibrated_it_is_no_held_out_data() -> None:
    """Whatever split training calls it; where nothing is known of training, that still is not known."""
    for trained in ({}, {"train": TRAIN, "test": HELD_OUT}):
        ours = version("2", data_sha256=trained, calibration={"data_sha256": HELD_OUT})
        check = told(replace(good(), candidate=ours))["leakage"]
        assert (check.passed, check.detail) == (
            False,
            "it was calibrated on held-out.jsonl; evaluate on others",
        )
    other = version("2", calibration={"data_sha256": VALID})
    assert told(replace(good(), candidate=other))["leakage"].passed is None


@pytest.mark.parametrize("parents", [{}, {"data_sha256": "x"}, {"data_sha256": {"train": "not a digest"}}])
def test_a_lineage_without_digests_is_not_asked(parents: dict[str, object]) -> None:
    assert told(replace(good(), candidate=version("2", **parents)))["leakage"].passed is None
