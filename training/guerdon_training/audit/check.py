"""What a check says: a verdict with its reason, the figures behind it, and where to look."""

from dataclasses import dataclass
from enum import StrEnum

from guerdon_service.core.statistics.interval import Interval


class Verdict(StrEnum):
    """Fail: do not train on this as it is. Warn: know this. Not applicable: the data cannot show it."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    WARN = "warn"
    FAIL = "fail"
    NOT_APPLICABLE = "not_applicable"


_SEVERITY = (Verdict.NOT_APPLICABLE, Verdict.PASS, Verdict.WARN, Verdict.FAIL)


def worst(*verdicts: Verdict) -> Verdict:
    """The most severe of some verdicts; not applicable is the least."""
    return max(verdicts, key=_SEVERITY.index, default=Verdict.NOT_APPLICABLE)


@dataclass(frozen=True, slots=True)
class Finding:
    """One figure.

    unit: ``rows`` (pairs, prompts, judgements, people), ``share`` (0 to 1), ``coefficient`` (-1 to 1),
        ``characters``, ``rating`` (the scale's own).
    interval: 95 %, where the figure is an estimate. num: observations behind the figure.
    group: the slice it holds for, e.g. ``source=auto-j``; empty for all.
    """

    name: str
    value: float
    unit: str
    group: str = ""
    interval: Interval | None = None
    num: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """The answer of one check.

    places: `file:line` of offending rows, never their text: the data may offend.
    """

    name: str
    title: str
    verdict: Verdict
    reason: str
    findings: tuple[Finding, ...] = ()
    places: tuple[str, ...] = ()


def not_applicable(name: str, title: str, reason: str) -> Check:
    """A check that these files cannot answer."""
    return Check(name, title, Verdict.NOT_APPLICABLE, reason)


def verdict_by_share(num_bad: int, num: int, fail_above: float) -> Verdict:
    """Pass when nothing is bad, fail when more than a share is, warn in between."""
    if num_bad == 0:
        return Verdict.PASS
    return Verdict.FAIL if num_bad > fail_above * num else Verdict.WARN
