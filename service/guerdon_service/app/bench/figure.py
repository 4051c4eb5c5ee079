"""What `guerdon bench` measures, one row at a time."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    value: median over rounds; `spread` is its lowest and highest round.
    asked: what the project set itself, and `passed` whether `value` meets it; None where nothing is asked.
    """

    name: str
    value: float
    unit: str
    spread: tuple[float, float]
    asked: str = ""
    passed: bool | None = None
    detail: dict[str, float] = field(default_factory=dict)


def at_least(name: str, rounds: list[float], bound: float, unit: str = "x", **detail: float) -> Figure:
    """A figure that should be `bound` or more."""
    value = median(rounds)
    return Figure(name, value, unit, (min(rounds), max(rounds)), f">= {bound:g}", value >= bound, detail)


def at_most(name: str, rounds: list[float], bound: float, unit: str, **detail: float) -> Figure:
    """A figure that should be `bound` or less."""
    value = median(rounds)
    return Figure(name, value, unit, (min(rounds), max(rounds)), f"<= {bound:g}", value <= bound, detail)


def plain(name: str, rounds: list[float], unit: str, **detail: float) -> Figure:
    """A figure with no bound."""
    return Figure(name, median(rounds), unit, (min(rounds), max(rounds)), detail=detail)


def median(values: list[float]) -> float:
    """Middle value; the lower one of two."""
    return sorted(values)[(len(values) - 1) // 2]


def line(figure: Figure) -> str:
    """A figure as a line of text: name, value with its spread, what was asked, whether it is met."""
    low, high = figure.spread
    verdict = "" if figure.passed is None else ("   ok" if figure.passed else "   MISSED")
    extra = "  ".join(f"{k} {v:.3g}" for k, v in figure.detail.items())
    value = f"{figure.value:10.4g} {figure.unit:9} [{low:.4g}, {high:.4g}]"
    return f"{figure.name:58} {value:42} {figure.asked:9}{verdict} {extra}".rstrip()
