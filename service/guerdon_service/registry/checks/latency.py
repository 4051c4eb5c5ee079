"""Does it answer as fast?"""

import numpy as np

from guerdon_service.core.registry import GateCheck
from guerdon_service.core.statistics.interval import Interval
from guerdon_service.core.statistics.median import median_interval
from guerdon_service.registry.evidence import NO_INCUMBENT, Evidence, Latency, not_asked
from guerdon_service.registry.policy import GatePolicy


def latency(evidence: Evidence, policy: GatePolicy) -> GateCheck:
    """In the median of paired rounds it takes no more than a ratio of the incumbent's time, or a slack more.

    It fails only where the intervals of both medians, of the ratio and of the difference, are above their
    bounds; a pass whose intervals reach beyond both says that it is not certain.
    """
    found = evidence.latency
    if found is None:
        return not_asked("latency", NO_INCUMBENT if evidence.incumbent is None else "it was not measured")
    ours, theirs = np.asarray(found.candidate_s), np.asarray(found.incumbent_s)
    ratio, more_s = median_interval(ours / theirs), median_interval(ours - theirs)
    is_slower = ratio.low > policy.max_latency_ratio and more_s.low > policy.latency_slack_s
    is_as_fast = ratio.high <= policy.max_latency_ratio or more_s.high <= policy.latency_slack_s
    doubt = "" if is_slower or is_as_fast else "; not certain, the machine was too busy to tell"
    return GateCheck("latency", not is_slower, _told(found, ratio, policy) + doubt)


def _told(found: Latency, ratio: Interval, policy: GatePolicy) -> str:
    ours_ms, theirs_ms = (float(np.median(s)) * 1e3 for s in (found.candidate_s, found.incumbent_s))
    return (
        f"{ratio.value:.2f} times the incumbent's [{ratio.low:.2f}, {ratio.high:.2f}], median and 95 % "
        f"interval of {len(found.candidate_s)} paired rounds, {policy.max_latency_ratio:g} is allowed "
        f"({ours_ms:.1f} ms, the incumbent's {theirs_ms:.1f} ms)"
    )
