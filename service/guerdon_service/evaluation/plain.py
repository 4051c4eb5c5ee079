"""The report as plain text, for a terminal."""

from guerdon_service.evaluation import figures
from guerdon_service.evaluation.figures import Plain


def report_plain(report: Plain) -> str:
    """Figures, slices, comparison and robustness as aligned tables, and the verdict as the last line.

    Args:
        report: plain JSON, see `report.to_json`.
    """
    parts = [figures.table(figures.summary(report))]
    told = (figures.losses(report), figures.length_rise(report), figures.ceiling(report))
    parts += [f"{line}\n" for line in told if line]
    slices = figures.slices(report["candidate"], figures.MIN_SHOWN)
    if len(slices) > 1:
        parts.append(figures.table(slices))
    if report["comparison"]:
        parts.append(figures.table(figures.compared(report["comparison"])))
        parts.append(f"{figures.p_values(report)}.\n")
    rows = figures.robustness(report)
    if len(rows) > 1:
        parts.append(figures.table(rows))
    return "\n".join([*parts, f"{figures.verdict(report)}\n"])
