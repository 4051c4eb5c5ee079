"""The accuracy of a rule that looks at the surface alone, overall and by source."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.statistics.clustered import clustered_rate
from guerdon_training.audit.check import Finding, Verdict, worst
from guerdon_training.audit.records import Records

WARN_ABOVE = 0.60
"""Lower end of a rule's interval. On AlpacaEval one human agrees with others at 0.657, length at 0.622."""

FAIL_ABOVE = 0.70
"""A rule this good, on all pairs, beats most models of this size: training would learn the rule."""

MIN_PAIRS = 100
"""Sources with fewer pairs are reported but not judged: a Wilson interval is then wider than 19 points."""


def rule_findings(records: Records, name: str, gap: NDArray[np.float64]) -> tuple[Finding, ...]:
    """Accuracy of "prefer the response with more of it", a tie counting half.

    Args:
        gap: float64 [pairs], the feature in `chosen` less that in `rejected`.
    """
    wins = (np.sign(gap) + 1) / 2
    prompts = [key[0] for key in records.pair_keys]
    sources = np.array([p.source for p in records.pairs])
    groups = [("", np.ones(len(wins), bool))]
    if len(set(sources.tolist())) > 1:
        groups += [(f"source={s}", sources == s) for s in dict.fromkeys(sources.tolist())]
    return tuple(_finding(name, group, wins, mask, prompts) for group, mask in groups)


def _finding(
    name: str, group: str, wins: NDArray[np.float64], mask: NDArray[np.bool_], prompts: Sequence[str]
) -> Finding:
    clusters = [prompts[i] for i in np.flatnonzero(mask).tolist()]
    rate = clustered_rate(wins[mask], clusters)
    return Finding(name, rate.value, "share", group, rate, int(mask.sum()))


def rule_verdict(findings: Sequence[Finding]) -> tuple[Verdict, str]:
    """Verdict of the strongest rule, in either direction, and the phrase that names it."""
    judged = [f for f in findings if f.group == "" or (f.num or 0) >= MIN_PAIRS]
    strongest = max(judged, key=_strength)
    verdict = worst(*(_judge(f) for f in judged))
    where = f" in {strongest.group}" if strongest.group else ""
    return verdict, f"the strongest rule is '{strongest.name}'{where}, accuracy {strongest.value:.3f}"


def _strength(finding: Finding) -> float:
    """How far the interval stays from a coin toss, whichever way the rule is read."""
    assert finding.interval is not None
    return max(finding.interval.low, 1 - finding.interval.high)


def _judge(finding: Finding) -> Verdict:
    if finding.group == "" and _strength(finding) > FAIL_ABOVE:
        return Verdict.FAIL
    return Verdict.WARN if _strength(finding) > WARN_ABOVE else Verdict.PASS
