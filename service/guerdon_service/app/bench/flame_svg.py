"""A flame graph as one SVG without scripts: what a frame calls stands above it, as wide as its samples.

After Gregg, "The Flame Graph", Communications of the ACM 59(6), 2016.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

Stacks = Counter[tuple[str, ...]]
"""Samples by stack, outermost frame first."""

WIDTH, ROW, CHARACTER = 1200.0, 17, 6.6
"""In pixels: the graph, a frame's height, a character of its name."""
_LEAST_WIDTH = 0.4
"""Narrower frames are not drawn."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle: its name, samples, depth from 0, and first sample among all."""

    name: str
    count: int
    depth: int
    start: int


def frames_of(stacks: Stacks, depth: int = 0, start: int = 0) -> Iterator[Frame]:
    """The frames of stacks that share their first `depth` frames, callers before what they call."""
    groups: dict[str, Stacks] = {}
    for frames, count in sorted(stacks.items()):
        if len(frames) > depth:
            groups.setdefault(frames[depth], Counter())[frames] = count
    for name, members in groups.items():
        yield Frame(name, members.total(), depth, start)
        yield from frames_of(members, depth + 1, start)
        start += members.total()


def flame_svg(stacks: Stacks, title: str) -> str:
    """The graph; each frame's title holds its whole name and share."""
    total = stacks.total()
    frames = [f for f in frames_of(stacks) if f.count / total * WIDTH >= _LEAST_WIDTH]
    height = (2 + max((f.depth for f in frames), default=0) + 1) * ROW
    drawn = "\n".join(_drawn(frame, total, height) for frame in frames)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0f} {height}" '
        'font-family="monospace" font-size="11">\n'
        f'<text x="4" y="14">{escape(title)}, {total} samples</text>\n'
        f"{drawn}\n</svg>\n"
    )


def _drawn(frame: Frame, total: int, height: int) -> str:
    x, width = frame.start / total * WIDTH, frame.count / total * WIDTH
    y = height - (frame.depth + 1) * ROW
    label = frame.name[: max(0, int(width / CHARACTER))] if width > 4 * CHARACTER else ""
    hue = 20 + sum(frame.name.encode()) % 40  # the same name has the same colour in every graph
    return (
        f'<g><title>{escape(frame.name)}: {frame.count / total:.1%}</title><rect x="{x:.2f}" y="{y}" '
        f'width="{width:.2f}" height="{ROW - 1}" fill="hsl({hue} 80% 65%)"/>'
        f'<text x="{x + 2:.2f}" y="{y + 12}">{escape(label)}</text></g>'
    )
