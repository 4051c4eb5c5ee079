"""The report as Markdown, for a pull request."""

from collections.abc import Sequence

from guerdon_service.evaluation import figures
from guerdon_service.evaluation.figures import Plain, Row


def report_markdown(report: Plain) -> str:
    """Verdict, figures, slices and provenance; texts of items are left out.

    Args:
        report: plain JSON, see `report.to_json`.
    """
    data = report["data"]
    told = (figures.losses(report), figures.length_rise(report), figures.ceiling(report))
    parts = [
        f"### Evaluation: {_text(figures.verdict(report))}",
        _table(figures.summary(report)),
        *(f"{_text(line)}." for line in told if line),
    ]
    if report["comparison"]:
        note = _text(f"{figures.p_values(report)}.")
        parts.append(_folded("Candidate against baseline", figures.compared(report["comparison"]), note))
    title = f"Accuracy by slice of {figures.MIN_SHOWN} items or more"
    parts.append(_folded(title, figures.slices(report["candidate"], figures.MIN_SHOWN)))
    rows = figures.robustness(report)
    if len(rows) > 1:
        parts.append(_folded("Robustness", rows))
    files = _text(", ".join(data["files"]))
    parts.append(
        f"<sub>{data['num_items']} items of {files} (SHA-256 `{data['sha256'][:16]}`); candidate digest "
        f"`{report['candidate']['model']['digest'][:16]}`; guerdon {report['guerdon_version']}; "
        "intervals are 95 %</sub>"
    )
    return "\n\n".join(part for part in parts if part) + "\n"


def _folded(title: str, rows: Sequence[Row], note: str = "") -> str:
    body = "\n\n".join(part for part in (_table(rows), note) if part)
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"


def _table(rows: Sequence[Row]) -> str:
    head, *body = ["| " + " | ".join(map(_text, row)) + " |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *body])


def _text(text: str) -> str:
    """Names come from data files: nothing of them may become markup."""
    escaped = text.replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace("\n", " ")
    for character in "|`*_[]#":
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
