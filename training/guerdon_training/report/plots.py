"""Plots of the pipeline's report as inline SVG; colours are the page's CSS variables."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import isfinite

_LEFT, _TOP, _WIDTH, _HEIGHT, _FOOT = 60, 24, 300, 170, 44
COLOURS = ("--mark", "--warn", "--pass", "--fail")


@dataclass(frozen=True, slots=True)
class Series:
    """Points in the order in which a line connects them; `low` and `high` are whiskers, or empty."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


def line_plot(title: str, x_label: str, series: Sequence[Series], *, diagonal: bool = False) -> str:
    """Lines with dots over one pair of axes; "" where there is no finite point.

    Args:
        diagonal: draw y = x, as in a reliability plot.
    """
    kept = [s for s in map(_finite, series) if s.x]
    if not kept:
        return ""
    xs = [x for s in kept for x in s.x]
    ys = [y for s in kept for y in (*s.y, *s.low, *s.high)] + (xs if diagonal else [])
    x_axis, y_axis = _Axis(min(xs), max(xs), _LEFT, _WIDTH), _Axis(min(ys), max(ys), _TOP + _HEIGHT, -_HEIGHT)
    body = [_frame(x_axis, y_axis)]
    if diagonal:
        low, high = x_axis.low, x_axis.high
        body.append(
            f'<line x1="{x_axis.at(low):.1f}" y1="{y_axis.at(low):.1f}" x2="{x_axis.at(high):.1f}" '
            f'y2="{y_axis.at(high):.1f}" class="rule"/>'
        )
    body += [_line(s, f"var({COLOURS[i % len(COLOURS)]})", x_axis, y_axis) for i, s in enumerate(kept)]
    body += [_legend(s.name, i) for i, s in enumerate(kept) if len(kept) > 1]
    middle, foot = _LEFT + _WIDTH / 2, _TOP + _HEIGHT + 34
    body.append(
        f'<text x="{middle:.0f}" y="{foot}" text-anchor="middle" class="number">{escape(x_label)}</text>'
    )
    body.append(f'<text x="{_LEFT}" y="14">{escape(title)}</text>')
    width, height = _LEFT + _WIDTH + (110 if len(kept) > 1 else 16), _TOP + _HEIGHT + _FOOT
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">'
        f"<title>{escape(title)}</title>{''.join(body)}</svg>"
    )


@dataclass(frozen=True, slots=True)
class _Axis:
    low: float
    high: float
    start: float
    length: float

    def at(self, value: float) -> float:
        """Pixel of a value; a single value sits in the middle."""
        span = self.high - self.low
        return self.start + self.length * ((value - self.low) / span if span else 0.5)

    @property
    def ticks(self) -> list[float]:
        """Ends and middle."""
        return sorted({self.low, (self.low + self.high) / 2, self.high})


def _finite(series: Series) -> Series:
    kept = [i for i, both in enumerate(zip(series.x, series.y, strict=True)) if all(map(isfinite, both))]
    columns = (series.x, series.y, series.low, series.high)
    return Series(series.name, *([c[i] for i in kept] if c else () for c in columns))


def _frame(x_axis: _Axis, y_axis: _Axis) -> str:
    bottom, right = _TOP + _HEIGHT, _LEFT + _WIDTH
    parts = [
        f'<path d="M{_LEFT},{_TOP} V{bottom} H{right}" fill="none" stroke="var(--soft)" stroke-width="1"/>'
    ]
    parts += [
        f'<text x="{x_axis.at(v):.1f}" y="{bottom + 16}" text-anchor="middle" class="number">{v:.3g}</text>'
        for v in x_axis.ticks
    ]
    parts += [
        f'<text x="{_LEFT - 6}" y="{y_axis.at(v) + 4:.1f}" text-anchor="end" class="number">{v:.3g}</text>'
        for v in y_axis.ticks
    ]
    return "".join(parts)


def _line(series: Series, colour: str, x_axis: _Axis, y_axis: _Axis) -> str:
    places = [(x_axis.at(x), y_axis.at(y)) for x, y in zip(series.x, series.y, strict=True)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts = [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>']
    if len(places) <= 40:
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in places]
    parts += [
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y_axis.at(low):.1f}" y2="{y_axis.at(high):.1f}" '
        f'stroke="{colour}" stroke-width="1.5"/>'
        for (x, _), low, high in zip(places, series.low, series.high, strict=False)
    ]
    return "".join(parts)


def _legend(name: str, place: int) -> str:
    x, y = _LEFT + _WIDTH + 12, _TOP + 12 + 18 * place
    colour = f"var({COLOURS[place % len(COLOURS)]})"
    return (
        f'<rect x="{x}" y="{y - 8}" width="10" height="10" fill="{colour}"/>'
        f'<text x="{x + 15}" y="{y + 1}">{escape(name)}</text>'
    )
