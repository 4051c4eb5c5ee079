"""One table of ratios, and what stands behind it; the same as JSON."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from guerdon_service.app.bench.figure import line, median
from tests.bench_peers.goals import rates
from tests.bench_peers.rounds import Measured
from tests.bench_peers.rows import Row

HEAD = ("server", "items/s", "lowest, highest", "p95 ms", "order", "max |diff|", "others' cores")


def text(rows: Sequence[Row]) -> str:
    """Each row's servers, fastest first; then all ratios."""
    parts = [f"{row.title}\n{_servers(row)}" for row in rows]
    ratios = [line(figure) for row in rows for figure in row.figures]
    return "\n\n".join([*parts, "\n".join(ratios)])


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Everything that was measured, without the replies."""
    return [
        {
            "row": row.name,
            "title": row.title,
            "figures": [asdict(figure) for figure in row.figures],
            "servers": [_server(row, m) for m in row.measured],
        }
        for row in rows
    ]


def _server(row: Row, m: Measured) -> dict[str, Any]:
    agreed = row.agreements.get(m.label)
    return {
        "server": m.label,
        "items_per_s": rates(m),
        "p95_ms": [{kind: run.quantile_ms(kind, 0.95) for kind in run.latencies_s} for run in m.runs],
        "foreign_cores": [run.foreign_cores for run in m.runs],
        "agreement": None if agreed is None else asdict(agreed),
    }


def _servers(row: Row) -> str:
    fastest_first = sorted(row.measured, key=lambda m: -median(rates(m)))
    cells = [HEAD, *(_cells(row, m) for m in fastest_first)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  " + "  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)


def _cells(row: Row, m: Measured) -> tuple[str, ...]:
    per_s, agreed = rates(m), row.agreements.get(m.label)
    kinds = sorted(m.runs[0].latencies_s, reverse=True)
    p95 = " / ".join(f"{k} {median([r.quantile_ms(k, 0.95) for r in m.runs]):.0f}" for k in kinds)
    return (
        m.label,
        f"{median(per_s):.1f}",
        f"{min(per_s):.1f}, {max(per_s):.1f}",
        p95,
        "" if agreed is None else f"{agreed.spearman:.4f}",
        "" if agreed is None else f"{agreed.max_abs:.1e}",
        f"{max(run.foreign_cores for run in m.runs):.1f}",
    )
