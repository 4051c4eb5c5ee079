"""What `guerdon train` says at its end."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from guerdon_service.core.calibration import Calibration
from guerdon_service.core.manifest import Head, Manifest, Norm, Profile
from guerdon_training.last_line import last_line

ACCURACY = {"value": 0.8, "low": 0.627, "high": 0.905}
POOLED = {"num_pairs": 30, "accuracy": ACCURACY, "longer": {"value": 0.4}, "shorter": {"value": 0.6}}
MEASURED = {"test": {"pooled": POOLED}}


def _manifest(kind: Any, metrics: dict[str, Any], **weights: float) -> Manifest:
    return Manifest(
        name="x",
        version="1",
        kind=kind,
        heads=tuple(Head(name, name, Norm(0.0, 1.0)) for name in weights),
        profiles={"first": Profile(weights), "other": Profile({"old": 1.0})} if weights else {},
        max_tokens=8,
        metrics=metrics,
    )


def test_a_reward_model_tells_the_attributes_of_its_default_profile() -> None:
    manifest = _manifest("reward", {"a": MEASURED, "old": {}, "directions": {}}, a=1.0, old=0.0)
    assert last_line(manifest, Path("runs/x")) == (
        "runs/x: a: test accuracy 0.800 [0.627, 0.905] on 30 pairs, longer wins 0.400, shorter wins 0.600"
    )
    unsure = replace(manifest, calibration=Calibration(1.0, 0.1, 99))
    assert last_line(unsure, Path("x")).endswith(
        "0.600; calibrated on 99 pairs alone: below 100, chance in the slope can make all of the calibration "
        "error that the gate allows; give more held-out pairs"
    )
    assert "alone" not in last_line(replace(manifest, calibration=Calibration(1.0, 0.1, 100)), Path("x"))
    refused = {"test": {"pooled": POOLED | {"num_refused": 4}}}
    assert "on 30 pairs (4 of them too long, which counts as half right), longer" in last_line(
        replace(manifest, metrics={"a": refused}), Path("x")
    )
    both = last_line(_manifest("reward", {"a": MEASURED, "b": MEASURED}, a=0.5, b=0.5), Path("x"))
    assert both.count("test accuracy") == 2


UPDATES = {"updates": 3, "kept_update": 2, "start": {"update": 0}, "last": {"valid/score": 7.0}, "kept": {}}
VALID = {"objective/score": 9.0, "objective/kl": 9.0, "valid/score": 1.5, "valid/kl": 2.25}


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"test": {"loss": 1.5, "perplexity": 4.4817}}, "x: test loss 1.5, perplexity 4.482"),
        (
            {"test": {"loss": 0.5, "accuracy": 0.8}, "test_accuracy_interval": ACCURACY},
            "x: test loss 0.5, test accuracy 0.800 [0.627, 0.905]",
        ),
        (
            {"test": {"loss": 0.5}, "test_accuracy_interval": ACCURACY, "num_test_too_long": 2},
            "x: test loss 0.5, test accuracy 0.800 [0.627, 0.905]; "
            "too long for max_tokens and left out: 2 of test",
        ),
        (
            UPDATES | {"start": {"valid/score": 0.5}, "kept": VALID},
            "x: update 2 of 3 kept: score 1.500 (before 0.500), KL 2.25 nats a response",
        ),
        (
            UPDATES | {"kept": {"objective/score": 1.0, "objective/kl": 0.5}},
            "x: update 2 of 3 kept: score 1.000, KL 0.50 nats a response",
        ),
        (UPDATES, "x: update 2 of 3 kept"),
    ],
    ids=[
        "sft",
        "dpo",
        "dpo left out",
        "ppo",
        "ppo without valid prompts",
        "ppo whose kept update was logged by another run",
    ],
)
def test_a_policy_tells_what_its_recipe_measures(metrics: dict[str, Any], said: str) -> None:
    assert last_line(_manifest("policy", metrics), Path("x")) == said
