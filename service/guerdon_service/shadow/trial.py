"""One candidate against one champion, for as long as both stand."""

from dataclasses import dataclass, field, replace
from typing import Literal

from guerdon_service.core.statistics.e_process import EProcess
from guerdon_service.shadow.agreement import Agreement

TrialVerdict = Literal["undecided", "better", "worse"]


@dataclass(frozen=True, slots=True)
class Trial:
    """What traffic and feedback have shown so far; `judged` gives the next one.

    evidence: on judgements where exactly one of the two preferred what the person preferred: 1 for the
        candidate, 0 for the champion. Valid at every look, so it may stop the trial at any time.
    """

    name: str
    champion: str
    candidate: str
    agreement: Agreement = field(default_factory=Agreement)
    evidence: EProcess = field(default_factory=EProcess)

    def judged(self, champion_margin: float, candidate_margin: float) -> "Trial":
        """After one more judgement; margins are each model's reward of the chosen less the rejected."""
        right = candidate_margin > 0.0, champion_margin > 0.0
        if right[0] == right[1]:
            return self
        return replace(self, evidence=self.evidence.observe(1.0 if right[0] else 0.0))

    def verdict(self, alpha: float) -> TrialVerdict:
        """Whether the candidate is known to be better or worse; wrong with probability `alpha` at most."""
        if not self.evidence.rejects(alpha):
            return "undecided"
        return "better" if self.evidence.total > self.evidence.num / 2.0 else "worse"
