"""Two small plots as inline SVG; colours come from the page's CSS variables, so both colour schemes work."""

from collections.abc import Sequence
from html import escape

from guerdon_training.audit.check import Finding

_LABEL, _PLOT, _VALUE, _ROW = 330, 360, 150, 20
_WIDTH = _LABEL + _PLOT + _VALUE


def interval_plot(findings: Sequence[Finding]) -> str:
    """Estimates as dots with 95 % whiskers; a dashed line marks one half of shares, zero of coefficients."""
    low = min(f.interval.low for f in findings if f.interval)
    high = max(f.interval.high for f in findings if f.interval)
    shares = all(f.unit == "share" for f in findings)
    low, high = (0.0, 1.0) if shares else (min(low, 0.0), max(high, 1.0))
    middle = 0.5 if shares else 0.0
    body = [_rule(_x(middle, low, high), len(findings))]
    body += [_tick(v, _x(v, low, high), len(findings)) for v in sorted({low, middle, high})]
    for i, finding in enumerate(findings):
        assert finding.interval is not None
        y = i * _ROW + _ROW // 2
        left, right = (_x(v, low, high) for v in (finding.interval.low, finding.interval.high))
        body += [
            _text(finding, y),
            f'<line x1="{left:.1f}" x2="{right:.1f}" y1="{y}" y2="{y}" class="whisker"/>',
            f'<circle cx="{_x(finding.value, low, high):.1f}" cy="{y}" r="4" class="mark"/>',
            _number(f"{finding.value:.3f} [{finding.interval.low:.3f}, {finding.interval.high:.3f}]", y),
        ]
    return _svg(body, len(findings) + 1, f"Estimates with 95 % intervals, axis from {low:g} to {high:g}")


def bar_plot(findings: Sequence[Finding]) -> str:
    """Counts as bars from zero."""
    largest = max((f.value for f in findings), default=0) or 1
    body = []
    for i, finding in enumerate(findings):
        y = i * _ROW + _ROW // 2
        width = finding.value / largest * _PLOT
        body += [
            _text(finding, y),
            f'<rect x="{_LABEL}" y="{y - 6}" width="{width:.1f}" height="12" rx="2" class="mark"/>',
            _number(f"{finding.value:,.0f}", y),
        ]
    return _svg(body, len(findings), "Numbers of rows")


def _x(value: float, low: float, high: float) -> float:
    return _LABEL + (value - low) / (high - low) * _PLOT


def _text(finding: Finding, y: int) -> str:
    label = f"{finding.name}, {finding.group}" if finding.group else finding.name
    short = label if len(label) <= 52 else label[:51] + "…"
    title = f"<title>{escape(label)}</title>"
    return f'<text x="{_LABEL - 8}" y="{y + 4}" text-anchor="end">{escape(short)}{title}</text>'


def _number(text: str, y: int) -> str:
    return f'<text x="{_LABEL + _PLOT + 8}" y="{y + 4}" class="number">{escape(text)}</text>'


def _rule(x: float, num_rows: int) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{num_rows * _ROW}" class="rule"/>'


def _tick(value: float, x: float, row: int) -> str:
    return f'<text x="{x:.1f}" y="{row * _ROW + 14}" text-anchor="middle" class="number">{value:.2g}</text>'


def _svg(body: Sequence[str], num_rows: int, title: str) -> str:
    height = num_rows * _ROW
    inner = "".join(body)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" role="img">'
        f"<title>{escape(title)}</title>{inner}</svg>"
    )
