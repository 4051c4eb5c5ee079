"""The result of an audit."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from guerdon_training.audit.check import Check, Verdict, worst
from guerdon_training.audit.records import Records
from guerdon_training.audit.registry import CHECKS
from guerdon_training.data import file_sha256

FORMAT = "guerdon.audit/1"


@dataclass(frozen=True, slots=True)
class AuditedFile:
    """A file by its path as given and the SHA-256 of its bytes. role: ``audited`` or ``evaluation``."""

    path: str
    sha256: str
    role: str


@dataclass(frozen=True, slots=True)
class Report:
    """Files, checks in the order of the registry, and the worst verdict of them all."""

    files: tuple[AuditedFile, ...]
    verdict: Verdict
    checks: tuple[Check, ...]


def audit(
    records: Records,
    files: Sequence[Path] = (),
    against: Sequence[Path] = (),
    on_check: Callable[[Check], None] = lambda check: None,
) -> Report:
    """Run every check.

    Args:
        files, against: what `records` were read from, for the digests in the report.
        on_check: called as each check ends.
    """
    checks = []
    for run in CHECKS:
        checks.append(run(records))
        on_check(checks[-1])
    listed = [AuditedFile(str(f), file_sha256(f), "audited") for f in files]
    listed += [AuditedFile(str(f), file_sha256(f), "evaluation") for f in against]
    return Report(tuple(listed), worst(*(c.verdict for c in checks)), tuple(checks))


def report_json(report: Report) -> str:
    """The report as JSON; the same data gives the same bytes."""
    return json.dumps({"format": FORMAT, **asdict(report)}, indent=1, ensure_ascii=False) + "\n"
