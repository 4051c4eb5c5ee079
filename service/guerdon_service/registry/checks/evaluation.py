"""Is the evaluation about these two models, and about data that the candidate has not seen?"""

from guerdon_service.core.evaluation import Evaluation
from guerdon_service.core.lineage import calibrated_on, lineages
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.registry import GateCheck
from guerdon_service.core.statistics.comparison import MIN_PROMPTS
from guerdon_service.registry.evidence import NO_INCUMBENT, NO_REPORT, Evidence, not_asked
from guerdon_service.registry.policy import GatePolicy
from guerdon_service.registry.report_view import Outcome, compared


def evaluation(evidence: Evidence, _: GatePolicy) -> GateCheck:
    """It is done, and about what callers get: candidate, incumbent, default profile."""
    given, incumbent = evidence.evaluation, evidence.incumbent
    if given is None:
        if incumbent is None:
            return not_asked("evaluation", NO_INCUMBENT)
        return GateCheck("evaluation", False, f"none given: evaluate it against {incumbent.version}")
    if given.state != "done":
        return GateCheck("evaluation", False, f"{given.id} is {given.state}, not done")
    if given.candidate_digest != evidence.candidate.digest:
        return GateCheck("evaluation", False, f"{given.id} is of {given.candidate}, another model")
    if incumbent is not None and given.baseline_digest != incumbent.digest:
        against = given.baseline or "nothing"
        return GateCheck("evaluation", False, f"{given.id} is against {against}, not {incumbent.version}")
    others = _not_default(given.query.profile, evidence)
    if others:
        return GateCheck(
            "evaluation",
            False,
            f"{given.id} is of profile {given.query.profile}, not the default of {others}",
        )
    return GateCheck("evaluation", True, f"{given.id} is done, of these digests and of the default profile")


def others(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """No other finished one of these two digests, on enough prompts of other data, is ``worse`` at the margin
    that the gate allows: who asks names the evaluation, and could leave out what speaks against it.
    """
    if evidence.incumbent is None:
        return not_asked("other evaluations", NO_INCUMBENT)
    theirs = [(o.id, _outcome(o)) for o in evidence.others if _is_of_the_same_two(o, evidence)]
    bad = [
        f"{id_} is worse: {found.delta.value:+.3f} [{found.delta.low:+.3f}, {found.delta.high:+.3f}]"
        for id_, found in theirs
        if found is not None and _is_worse(found, policy.max_margin)
    ]
    told = "; ".join(bad) or f"none of {len(theirs)} speaks against it"
    return GateCheck("other evaluations", not bad, told)


def leakage(evidence: Evidence, _: GatePolicy) -> GateCheck:
    """The data set is no file that the candidate was trained or calibrated on, as its lineage tells."""
    if evidence.report is None or evidence.evaluation is None:
        return not_asked("leakage", NO_REPORT)
    given = evidence.evaluation
    parents = evidence.candidate.parents
    if given.dataset_sha256 == calibrated_on(parents):
        return GateCheck("leakage", False, f"it was calibrated on {given.query.dataset}; evaluate on others")
    by_split = tuple(lineages(parents))
    if not any(by_split):
        return not_asked("leakage", "its lineage names no training data by SHA-256")
    seen: list[str] = []
    untold: list[str] = []
    for digests in by_split:
        found = [name for name, sha256 in digests.items() if sha256 == given.dataset_sha256]
        (seen if "train" in digests else untold).extend(name for name in found if name != "test")
    if seen:
        return GateCheck("leakage", False, f"it was trained on {given.query.dataset} ({seen[0]})")
    if untold:
        return not_asked("leakage", f"its lineage names {untold[0]}, but not which split that was")
    names = ", ".join(name for digests in by_split for name in digests if name != "test")
    return GateCheck("leakage", True, f"the data set is none of {names}; copies of single rows are not seen")


def refusals(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """Neither model refused more than a small share of the items: what was not scored shows nothing."""
    report = evidence.report
    if report is None:
        return not_asked("refusals", NO_REPORT)
    counts = [("the candidate", report.num_refused), ("the incumbent", report.num_refused_baseline)]
    found = ", ".join(f"{who}'s {num}" for who, num in counts if num is not None)
    told = f"of {report.num_items} items {found} were refused"
    most = max(num for _, num in counts if num is not None)
    return GateCheck(
        "refusals",
        most <= policy.max_refused_share * report.num_items,
        f"{told}; a share of {policy.max_refused_share:g} is allowed",
    )


def _is_of_the_same_two(other: Evaluation, evidence: Evidence) -> bool:
    """Done, on other data than the one that was named, and on the profile that callers get."""
    given, incumbent = evidence.evaluation, evidence.incumbent
    return (
        other.state == "done"
        and incumbent is not None
        and (other.candidate_digest, other.baseline_digest) == (evidence.candidate.digest, incumbent.digest)
        and (given is None or other.dataset_sha256 != given.dataset_sha256)
        and not _not_default(other.query.profile, evidence)
    )


def _outcome(other: Evaluation) -> Outcome | None:
    return compared(other.report) if other.report else None


def _is_worse(found: Outcome, margin: float) -> bool:
    """On enough prompts; as the verdict of `compare_paired` at that margin, whatever it was asked with."""
    enough = found.num_prompts >= MIN_PROMPTS
    return enough and found.delta.high < 0.0 and found.delta.low <= -margin


def _not_default(profile: str | None, evidence: Evidence) -> str:
    """Whose default profile another is; empty where it is everybody's, or was not named."""
    manifests = {"the candidate": evidence.on_disk, "the incumbent": evidence.incumbent_manifest}
    others = (
        who
        for who, manifest in manifests.items()
        if isinstance(manifest, Manifest) and profile != next(iter(manifest.profiles), None)
    )
    return " and ".join(others) if profile is not None else ""
