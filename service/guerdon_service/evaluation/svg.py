"""Two plots as inline SVG; colours come from the page's CSS variables, so both colour schemes work."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil
from typing import Any

_LABEL, _PLOT, _VALUE, _ROW = 260, 380, 190, 22
_WIDTH = _LABEL + _PLOT + _VALUE
_SIDE, _EDGE = 300, 40


def forest(rows: Sequence[tuple[str, Mapping[str, float], float]]) -> str:
    """Shares as dots with whiskers from 0 to 1, a tick for the reference of each; dashed at one half.

    Args:
        rows: label, ``{value, low, high}``, and the reference.
    """
    height = _ROW * len(rows)
    body = [_line(_across(0.5), 0, _across(0.5), height, "rule")]
    for i, (label, interval, reference) in enumerate(rows):
        y = i * _ROW + _ROW // 2
        value, low, high = (interval[k] for k in ("value", "low", "high"))
        short = label if len(label) <= 40 else label[:39] + "…"
        body += [
            f'<text x="{_LABEL - 8}" y="{y + 4}" text-anchor="end">{escape(short)}'
            f"<title>{escape(label)}</title></text>",
            _line(_across(reference), y - 7, _across(reference), y + 7, "reference"),
            _line(_across(low), y, _across(high), y, "whisker"),
            f'<circle cx="{_across(value):.1f}" cy="{y}" r="4" class="mark"/>',
            f'<text x="{_LABEL + _PLOT + 8}" y="{y + 4}" class="number">'
            f"{value:.3f} [{low:.3f}, {high:.3f}]</text>",
        ]
    for tick in (0.0, 0.5, 1.0):
        x = _across(tick)
        body.append(
            f'<text x="{x:.1f}" y="{height + 14}" text-anchor="middle" class="number">{tick:g}</text>'
        )
    return _svg(
        body, _WIDTH, height + 20, "Accuracy by slice with 95 % intervals; grey: the best length rule"
    )


def reliability(bins: Sequence[Mapping[str, Any]]) -> str:
    """How often the preferred side was right against the probability given to it, from 0.5 to the highest."""
    highest: float = max(row["confidence"] for row in bins)
    end = max(0.55, ceil(highest * 20) / 20)

    def x(confidence: float) -> float:
        return _EDGE + (confidence - 0.5) / (end - 0.5) * _SIDE

    body = [
        _line(x(0.5), _y(0.5), x(end), _y(end), "rule"),
        _line(x(0.5), _y(0.0), x(end), _y(0.0), "axis"),
        _line(x(0.5), _y(0.0), x(0.5), _y(1.0), "axis"),
    ]
    for row in bins:
        at, right = x(row["confidence"]), row["accuracy"]
        title = f"{row['num_items']:,} pairs: said {row['confidence']:.3f}, right {right['value']:.3f}"
        body += [
            _line(at, _y(right["low"]), at, _y(right["high"]), "whisker"),
            f'<circle cx="{at:.1f}" cy="{_y(right["value"]):.1f}" r="4" class="mark">'
            f"<title>{title}</title></circle>",
        ]
    for tick in (0.5, (0.5 + end) / 2, end):
        body.append(f'<text x="{x(tick):.1f}" y="{_SIDE + 16}" text-anchor="middle">{tick:.3g}</text>')
    for tick in (0.0, 0.5, 1.0):
        body.append(f'<text x="{_EDGE - 6}" y="{_y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    return _svg(body, _SIDE + 2 * _EDGE, _SIDE + 24, "Reliability: accuracy against confidence")


def _across(share: float) -> float:
    return _LABEL + share * _PLOT


def _y(share: float) -> float:
    return _SIDE - share * (_SIDE - 8)


def _line(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{name}"/>'


def _svg(body: Sequence[str], width: int, height: int, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{escape(title)}</title>{''.join(body)}</svg>"
    )
