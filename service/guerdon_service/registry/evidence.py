"""All that the gate looks at, gathered before it decides."""

from dataclasses import dataclass

from guerdon_service.core.certificate import Check
from guerdon_service.core.evaluation import Evaluation
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.registry import GateCheck, ModelVersion
from guerdon_service.registry.report_view import ReportView, view


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds of one short request to each model, one of each for every round of a run, in its order."""

    candidate_s: tuple[float, ...]
    incumbent_s: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a candidate and of what it would replace.

    on_disk: the manifest that its artifact has now, or why the artifact was refused.
    incumbent, incumbent_manifest, latency: None for the first version of a name.
    certificate: what the candidate showed before it became ready.
    evaluation: the one that was named. others: all that there are; those of these two have
        their reports.
    stopped: why judgements on live traffic have stopped it; None where they have not.
    """

    candidate: ModelVersion
    on_disk: Manifest | str
    certificate: tuple[Check, ...]
    incumbent: ModelVersion | None = None
    incumbent_manifest: Manifest | None = None
    evaluation: Evaluation | None = None
    others: tuple[Evaluation, ...] = ()
    latency: Latency | None = None
    stopped: str | None = None

    @property
    def report(self) -> ReportView | None:
        """The report of an evaluation that is done and is about this very candidate."""
        if self.evaluation is None or self.evaluation.state != "done" or self.evaluation.report is None:
            return None
        is_ours = self.evaluation.candidate_digest == self.candidate.digest
        return view(self.evaluation.report) if is_ours else None

    @property
    def comparison(self) -> ReportView | None:
        """Its report, where it is also against this very incumbent."""
        if self.incumbent is None or self.evaluation is None:
            return None
        return self.report if self.evaluation.baseline_digest == self.incumbent.digest else None


NO_INCUMBENT = "it is the first version: there is nothing to compare it with"
NO_REPORT = "no finished evaluation of it was given"


def not_asked(name: str, why: str) -> GateCheck:
    """A question that cannot be put."""
    return GateCheck(name, None, why)
