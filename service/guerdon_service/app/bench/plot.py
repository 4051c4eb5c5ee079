"""The table as a picture: every ratio beside what was asked of it."""

from collections.abc import Sequence
from pathlib import Path

from guerdon_service.app.bench.figure import Figure
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.whole_file import whole_file


def write_plot(figures: Sequence[Figure], path: Path) -> None:
    """Horizontal bars of value / bound for each figure that has a bound, with its spread.

    What has to be zero has no such ratio and stands in the table alone.

    Raises:
        InvalidInput: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise InvalidInput("matplotlib is missing; pip install 'guerdon[bench]'", param="output") from None
    asked = [f for f in figures if f.passed is not None and _bound(f)]
    canvas = Canvas(figsize=(9, 0.5 * len(asked) + 1.2), layout="constrained")
    axes = canvas.subplots()
    for row, figure in enumerate(reversed(asked)):
        low, high = (s / _bound(figure) for s in figure.spread)
        axes.barh(row, figure.value / _bound(figure), color="tab:green" if figure.passed else "tab:red")
        axes.plot([low, high], [row, row], color="black", linewidth=2)
    axes.set_yticks(range(len(asked)), [f"{f.name} ({f.asked} {f.unit})" for f in reversed(asked)])
    axes.axvline(1.0, color="black", linestyle="--", linewidth=1)
    axes.set_xlabel("measured / asked")
    with whole_file(path) as draft, draft.open("wb") as file:
        canvas.savefig(file, dpi=120, format="png")


def _bound(figure: Figure) -> float:
    return float(figure.asked.split()[1])
