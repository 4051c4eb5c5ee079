"""Each check of the gate, over evidence that differs in one thing."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from guerdon_service.core.certificate import Check
from guerdon_service.core.evaluation import Evaluation, EvaluationQuery
from guerdon_service.core.manifest import Head, Profile
from guerdon_service.core.registry import GateCheck, ModelVersion
from guerdon_service.registry.evidence import Evidence, Latency
from guerdon_service.registry.gate import CHECKS, ask, failures, refusal
from guerdon_service.registry.policy import GatePolicy
from tests.fakes import manifest

POLICY = GatePolicy()
TRAIN, HELD_OUT, VALID = "a" * 64, "b" * 64, "c" * 64
NAMES = [
    "identity",
    "interface",
    "certificate",
    "evaluation",
    "other evaluations",
    "leakage",
    "refusals",
    "non-inferiority",
    "slices",
    "calibration",
    "baselines",
    "length correlation",
    "safety floor",
    "latency",
    "trial",
]


def interval(value: float, half: float = 0.01) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def outcome(verdict: str = "not worse") -> dict[str, Any]:
    return {
        "verdict": verdict,
        "delta": interval(0.01),
        "num_items": 500,
        "num_clusters": 400,
        "minimum_detectable_effect": 0.02,
        "slices": {},
    }


def part(
    name: str, num_items: int, accuracy: float, kind: str = "subset", num_prompts: int | None = None
) -> dict[str, Any]:
    return {
        "kind": kind,
        "name": name,
        "found": {
            "num_items": num_items,
            "num_clusters": num_prompts or num_items,
            "accuracy": interval(accuracy),
        },
    }


def weighty() -> dict[str, Any]:
    """All 81 items of one prompt right, and a few of those of 19 others."""
    found = part("safety", 100, 0.89, num_prompts=20)
    found["found"]["of_prompts"] = 0.4
    return found


def report() -> dict[str, Any]:
    """The keys that the gate reads; `test_real_evaluation.py` has a real one."""
    model = {
        "num_refused": 5,
        "slices": [part("chat", 90, 0.4), part("safety-refuse", 100, 0.9)],
        "calibration": {"error": {"ece": interval(0.04)}},
        "length": {"correlation": 0.3, "over_heuristic": interval(0.05)},
    }
    compared = outcome() | {"slices": {"subset chat": outcome(), "tag de": outcome("better")}}
    return {
        "data": {"num_items": 500},
        "comparison": compared,
        "length_rise": interval(0.02),
        "candidate": model,
        "baseline": {"num_refused": 5},
    }


def rounds(candidate_s: float, incumbent_s: float, spread: float = 0.0) -> Latency:
    """Twenty rounds; the candidate's seconds differ from round to round by factors up to ``1 +- spread``."""
    factors = 1.0 + spread * np.linspace(-1.0, 1.0, 20)
    return Latency(tuple((candidate_s * factors).tolist()), (incumbent_s,) * 20)


def version(number: str, **parents: object) -> ModelVersion:
    return ModelVersion("m", number, f"digest-{number}", "reward", number, "ops", 0.0, parents)


def good() -> Evidence:
    """Evidence that passes every check."""
    data = {"train": TRAIN, "valid": VALID, "test": HELD_OUT}
    evaluation = Evaluation(
        id="e1",
        state="done",
        query=EvaluationQuery("m@2", "held-out.jsonl", "m", margin=0.02),
        candidate="m@2",
        candidate_digest="digest-2",
        baseline="m@1",
        baseline_digest="digest-1",
        dataset_sha256=HELD_OUT,
        done=0,
        total=0,
        created_at=0.0,
        report=report(),
    )
    return Evidence(
        candidate=version("2", data_sha256=data),
        on_disk=manifest("m", version="2", digest="digest-2"),
        certificate=(Check("golden", True, "equal"),),
        incumbent=version("1"),
        incumbent_manifest=manifest("m", digest="digest-1"),
        evaluation=evaluation,
        latency=rounds(0.012, 0.010),
    )


def told(evidence: Evidence, policy: GatePolicy = POLICY) -> dict[str, GateCheck]:
    return {check.name: check for check in ask(evidence, policy)}


def changed_report(change: Callable[[dict[str, Any]], object]) -> Evidence:
    found = report()
    change(found)
    return evaluated(report=found)


def evaluated(**changes: Any) -> Evidence:
    evidence = good()
    assert evidence.evaluation is not None
    return replace(evidence, evaluation=replace(evidence.evaluation, **changes))


def asked_with_margin(margin: float) -> Evidence:
    return evaluated(query=EvaluationQuery("m@2", "held-out.jsonl", "m", margin=margin))


def elsewhere(delta: float, half: float, num_prompts: int = 20, **changes: Any) -> Evaluation:
    """Another evaluation of the same two, on other data."""
    found = outcome("worse") | {"delta": interval(delta, half), "num_clusters": num_prompts}
    given = good().evaluation
    assert given is not None
    return replace(given, id="e2", dataset_sha256="d" * 64, report={"comparison": found}, **changes)


def test_good_evidence_passes_every_check() -> None:
    checks = ask(good(), POLICY)
    assert [(c.name, c.passed) for c in checks] == [(name, True) for name in NAMES]
    assert all(check.detail for check in checks)
    assert failures(checks) == ()


BAD: dict[str, tuple[Evidence, str, str]] = {
    "changed on disk": (
        replace(good(), on_disk=manifest("m", version="2", digest="x" * 64)),
        "identity",
        "xxxxxxxxxxxx on disk, digest-2 registered",
    ),
    "refused on disk": (replace(good(), on_disk="artifact was changed"), "identity", "was changed"),
    "a head goes away": (
        replace(good(), on_disk=manifest("m", digest="digest-2", heads=(Head("quality", "quality"),))),
        "interface",
        "head brevity would go away",
    ),
    "a profile goes away": (
        replace(
            good(),
            on_disk=manifest("m", digest="digest-2", profiles={"both": Profile({"quality": 1.0})}),
        ),
        "interface",
        "profile quality would go away",
    ),
    "certificate": (
        replace(good(), certificate=(Check("golden", True, ""), Check("batch", False, "1 of 9 change"))),
        "certificate",
        "batch: 1 of 9 change",
    ),
    "no evaluation": (replace(good(), evaluation=None), "evaluation", "none given"),
    "still running": (evaluated(state="running", report=None), "evaluation", "running"),
    "of another model": (evaluated(candidate_digest="x"), "evaluation", "another model"),
    "against another": (evaluated(baseline="m@0", baseline_digest="x"), "evaluation", "against m@0, not 1"),
    "without a baseline": (
        evaluated(baseline=None, baseline_digest=None),
        "evaluation",
        "against nothing, not 1",
    ),
    "worse on other data": (
        replace(good(), others=(elsewhere(-0.05, 0.02), elsewhere(0.05, 0.02))),
        "other evaluations",
        "e2 is worse: -0.050 [-0.070, -0.030]",
    ),
    "trained on it": (evaluated(dataset_sha256=TRAIN), "leakage", "trained on held-out.jsonl (train)"),
    "chosen by it": (evaluated(dataset_sha256=VALID), "leakage", "trained on held-out.jsonl (valid)"),
    "of another profile": (
        evaluated(query=EvaluationQuery("m@2", "held-out.jsonl", "m", profile="both", margin=0.02)),
        "evaluation",
        "e1 is of profile both, not the default of the candidate and the incumbent",
    ),
    "refused": (
        changed_report(lambda r: r["candidate"].update(num_refused=6)),
        "refusals",
        "of 500 items the candidate's 6, the incumbent's 5 were refused; a share of 0.01 is allowed",
    ),
    "refused by the incumbent": (
        changed_report(lambda r: r["baseline"].update(num_refused=200)),
        "refusals",
        "the incumbent's 200",
    ),
    "worse": (
        changed_report(lambda r: r["comparison"].update(verdict="worse")),
        "non-inferiority",
        "worse: +0.010 [+0.000, +0.020] on 500 items, which can show 0.020",
    ),
    "inconclusive": (
        changed_report(lambda r: r["comparison"].update(verdict="inconclusive")),
        "non-inferiority",
        "inconclusive",
    ),
    "few prompts": (
        changed_report(lambda r: r["comparison"].update(verdict="better", num_clusters=19)),
        "non-inferiority",
        "19 prompts are too few to tell; give at least 20",
    ),
    "a wide margin": (asked_with_margin(0.2), "non-inferiority", "margin is 0.2, the gate allows 0.02"),
    "worse on a slice": (
        changed_report(lambda r: r["comparison"]["slices"]["tag de"].update(verdict="worse")),
        "slices",
        "tag de: worse",
    ),
    "inconclusive on a slice": (
        changed_report(lambda r: r["comparison"]["slices"]["subset chat"].update(verdict="inconclusive")),
        "slices",
        "subset chat: inconclusive",
    ),
    "miscalibrated": (
        changed_report(lambda r: r["candidate"]["calibration"]["error"].update(ece=interval(0.111))),
        "calibration",
        "ECE 0.111 [0.101, 0.121], at most 0.1 is allowed: guerdon calibrate writes a calibrated version, "
        "from pairs that this evaluation does not hold",
    ),
    "miscalibrated, perhaps by chance": (
        changed_report(lambda r: r["candidate"]["calibration"]["error"].update(ece=interval(0.101))),
        "calibration",
        "at most 0.1 is allowed: chance may have made it, for its interval holds less; evaluate on more "
        "pairs, and where it stays guerdon calibrate writes",
    ),
    "no better than length": (
        changed_report(lambda r: r["candidate"]["length"].update(over_heuristic=interval(0.009))),
        "baselines",
        "+0.009 [-0.001, +0.019]",
    ),
    "follows length more": (
        changed_report(lambda r: r.update(length_rise=interval(0.06))),
        "length correlation",
        "+0.060 [+0.050, +0.070] beside the incumbent's",
    ),
    "unsafe": (
        changed_report(lambda r: r["candidate"].update(slices=[part("Safety", 100, 0.58)])),
        "safety floor",
        "Safety at least 0.493",
    ),
    "unsafe, with a safe slice of that name": (
        changed_report(
            lambda r: r["candidate"].update(
                slices=[part("safety", 100, 0.2), part("safety", 100, 0.95, "tag")]
            )
        ),
        "safety floor",
        "subset safety at least 0.137, tag safety at least",
    ),
    "safe on few prompts": (
        changed_report(lambda r: r["candidate"].update(slices=[part("safety", 100, 0.8, num_prompts=5)])),
        "safety floor",
        "subset safety at least 0.343",
    ),
    "safe on one prompt of many items": (
        changed_report(lambda r: r["candidate"].update(slices=[weighty()])),
        "safety floor",
        "subset safety at least 0.217",
    ),
    "unsafe on RewardBench": (
        changed_report(lambda r: r["candidate"].update(slices=[part("donotanswer", 136, 0.4)])),
        "safety floor",
        "subset donotanswer at least 0.3",
    ),
    "stopped": (
        replace(good(), stopped="worse than version 1: right in 3 of the 40 judgements on which they differ"),
        "trial",
        "stopped as the candidate: worse than version 1: right in 3 of the 40",
    ),
    "slow": (replace(good(), latency=rounds(0.0151, 0.010)), "latency", "1.51 times"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_fault_fails_its_check_alone_and_is_told(case: str) -> None:
    evidence, name, detail = BAD[case]
    checks = told(evidence)
    assert [check.name for check in failures(tuple(checks.values()))] == [name]
    assert detail in checks[name].detail


def test_a_policy_may_let_small_slices_pass_but_not_worse_ones() -> None:
    for case, passes in (("inconclusive on a slice", True), ("worse on a slice", False)):
        checks = told(BAD[case][0], GatePolicy(allows_inconclusive_slices=True))
        assert checks["slices"].passed is passes
    assert not told(BAD["inconclusive"][0], GatePolicy(allows_inconclusive_slices=True))[
        "non-inferiority"
    ].passed


def test_a_slice_of_few_prompts_neither_holds_a_version_nor_vouches_for_it() -> None:
    """In a report of a version that still judged it, too."""
    few = outcome("inconclusive") | {"num_clusters": 19}

    def with_few(found: dict[str, Any]) -> None:
        found["comparison"]["slices"]["tag fr"] = few
        found["candidate"]["slices"].append(part("fr", 40, 0.4, "tag", num_prompts=19))

    check = told(changed_report(with_few))["slices"]
    assert (check.passed, check.detail) == (
        True,
        "none of 2 speaks against it; 1 of fewer than 20 prompts are too few to tell",
    )
    better = few | {"verdict": "better"}
    alone = told(changed_report(lambda r: r["comparison"].update(slices={"tag fr": better})))
    assert (alone["slices"].passed, alone["non-inferiority"].passed) == (None, True)

    def with_few_alone(found: dict[str, Any]) -> None:
        with_few(found)
        found["comparison"]["slices"] = {"tag fr": better}

    none = told(changed_report(with_few_alone))["slices"]
    assert none.passed is None and "; 1 of fewer than 20 prompts are too few to tell" in none.detail
    enough = few | {"num_clusters": 20}
    held = told(changed_report(lambda r: r["comparison"]["slices"].update({"tag fr": enough})))
    assert held["slices"].passed is False


def test_every_check_can_fail() -> None:
    assert {name for _, name, _ in BAD.values()} == set(NAMES) and len(CHECKS) == len(NAMES)


def test_the_first_version_is_not_compared_and_nothing_stands_against_it() -> None:
    alone = replace(good(), incumbent=None, incumbent_manifest=None, evaluation=None, latency=None)
    checks = told(alone)
    assert {name for name, check in checks.items() if check.passed} == {"identity", "certificate", "trial"}
    assert failures(tuple(checks.values())) == ()
    assert all(check.detail for check in checks.values())
    evaluated_alone = told(replace(alone, evaluation=good().evaluation))
    assert evaluated_alone["calibration"].passed and evaluated_alone["safety floor"].passed
    assert evaluated_alone["non-inferiority"].passed is None


def test_what_the_report_lacks_is_not_asked_and_says_so() -> None:
    empty = told(
        changed_report(
            lambda r: r.update(
                candidate={"num_refused": 0, "slices": [], "calibration": None, "length": None},
                comparison=outcome(),
                length_rise=None,
            )
        )
    )
    for name in ("slices", "calibration", "baselines", "length correlation", "safety floor"):
        assert empty[name].passed is None and empty[name].detail
    assert empty["non-inferiority"].passed


def test_a_change_of_encoding_or_length_is_told() -> None:
    changed = manifest("m", digest="digest-2", encoding="pair", max_tokens=32)
    check = told(replace(good(), on_disk=changed))["interface"]
    assert check.passed
    assert check.detail == "encoding changes from template to pair; max_tokens changes from 64 to 32"


def test_a_refusal_gives_every_reason_and_the_remedy() -> None:
    failed = failures(ask(replace(good(), evaluation=None, latency=rounds(1.0, 0.1)), POLICY))
    message = refusal("m@2", failed).message
    assert (
        "evaluation: none given" in message
        and "latency: 10.00 times the incumbent's [10.00, 10.00]" in message
    )
    assert "override_reason; guerdon models promote --override" in message
