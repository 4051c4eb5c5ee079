"""Tables of measured figures, for a Markdown card and for an HTML page."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from guerdon_service.core.statistics.interval import Interval


@dataclass(frozen=True, slots=True)
class Table:
    """Plain cells; every row as long as the header."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """GitHub's dialect."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
        )

    def html(self) -> str:
        """Escaped; figures stand on the right."""
        head = "".join(f"<th>{escape(cell)}</th>" for cell in self.header)
        body = "".join(
            "<tr>" + "".join(f"<td{_figure(cell)}>{escape(cell)}</td>" for cell in row) + "</tr>"
            for row in self.rows
        )
        return f"<table><tr>{head}</tr>{body}</table>"


def interval(figures: Interval | Mapping[str, Any], *, sign: bool = False) -> str:
    """``0.123 [0.100, 0.150]``."""
    values = (
        (figures.value, figures.low, figures.high)
        if isinstance(figures, Interval)
        else (figures["value"], figures["low"], figures["high"])
    )
    value, low, high = (format(v, "+.3f" if sign else ".3f") for v in values)
    return f"{value} [{low}, {high}]"


def _figure(cell: str) -> str:
    return ' class="number"' if re.fullmatch(r"[-+]?[\d.,]+%?( \[.*\])?", cell) else ""
