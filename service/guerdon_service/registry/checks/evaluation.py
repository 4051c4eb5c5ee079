"""Is the evaluation about these two models, and about data that the candidate has not seen?"""

import re
from collections.abc import Mapping

from guerdon_service.core.registry import GateCheck
from guerdon_service.registry.evidence import NO_INCUMBENT, NO_REPORT, Evidence, not_asked
from guerdon_service.registry.policy import GatePolicy

_SHA256 = re.compile(r"[0-9a-f]{64}")


def evaluation(evidence: Evidence, _: GatePolicy) -> GateCheck:
    """It is done, and its digests are those of the candidate and of the version it would replace."""
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
    return GateCheck("evaluation", True, f"{given.id} is done and of these digests")


def leakage(evidence: Evidence, _: GatePolicy) -> GateCheck:
    """The data set is none of the files that the candidate was trained on, as its lineage tells."""
    if evidence.report is None or evidence.evaluation is None:
        return not_asked("leakage", NO_REPORT)
    trained_on = _training_files(evidence.candidate.parents)
    if not trained_on:
        return not_asked("leakage", "its lineage names no training data by SHA-256")
    sha256 = evidence.evaluation.dataset_sha256
    seen = [name for name, digest in trained_on.items() if digest == sha256]
    if seen:
        return GateCheck(
            "leakage", False, f"it was trained on {evidence.evaluation.query.dataset} ({seen[0]})"
        )
    names = ", ".join(trained_on)
    return GateCheck("leakage", True, f"the data set is none of {names}; copies of single rows are not seen")


def _training_files(parents: Mapping[str, object]) -> dict[str, str]:
    """SHA-256 by file or split, as every recipe writes it; a test split was measured on, not trained on."""
    data = parents.get("data_sha256")
    if not isinstance(data, Mapping):
        return {}
    return {
        str(name): digest
        for name, digest in data.items()
        if isinstance(digest, str) and _SHA256.fullmatch(digest) and "test" not in str(name).lower()
    }
