"""Aligned text tables."""

from collections.abc import Sequence

from guerdon.types import Interval


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first row is the header. Numbers are aligned right."""
    header, *body = rows
    widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
    right = [all(_numeric(row[i]) for row in body) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for cell, width, number in zip(row, widths, right, strict=True)
        ).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def figure(interval: Interval | None) -> str:
    """A value with its interval; empty for None."""
    return "" if interval is None else f"{interval.value:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _numeric(cell: str) -> bool:
    return cell.strip().lstrip("+-").replace(".", "", 1).isdigit() or not cell
