"""The audit as a stage: a failing check stops the pipeline unless the config accepts it."""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from guerdon_service.core.errors import InvalidInput
from guerdon_training.audit.check import Check, Verdict
from guerdon_training.audit.read import read_records
from guerdon_training.audit.records import DEFAULT_BUDGET, Budget
from guerdon_training.audit.registry import CHECKS
from guerdon_training.audit.report import audit, report_json
from guerdon_training.audit.report_html import report_html
from guerdon_training.pipeline.config import AuditConfig


def run_audit(config: AuditConfig, folder: Path) -> None:
    """Write ``report.json`` and ``report.html``.

    Raises:
        InvalidInput: a file cannot be used, or a check fails that the config does not accept.
    """
    files, against = [Path(f) for f in config.files], [Path(f) for f in config.against]
    budget = Budget(config.max_chars, DEFAULT_BUDGET.unit, DEFAULT_BUDGET.split)
    records = read_records(files, against, budget)
    with tqdm(total=len(CHECKS), desc="audit", unit="check", disable=None) as bar:
        report = audit(records, files, against, on_check=lambda check: _advance(bar, check))
    (folder / "report.json").write_text(report_json(report), "utf-8")
    (folder / "report.html").write_text(report_html(report), "utf-8")
    failed = [c for c in report.checks if c.verdict is Verdict.FAIL and c.name not in config.accept]
    if failed:
        reasons = "; ".join(f"{c.name} ({c.reason})" for c in failed)
        raise InvalidInput(
            f"the data fails {reasons}. See {folder / 'report.html'}; correct the data, or add "
            f"{', '.join(c.name for c in failed)} to audit.accept",
            param="audit.accept",
        )


def _advance(bar: "tqdm[Any]", check: Check) -> None:
    bar.set_postfix_str(check.name)
    bar.update()
