"""Rows that share a key."""

from collections.abc import Hashable, Iterable, Sequence

MAX_PLACES = 50
"""Places listed per check; the figures count all of them."""


def groups_of(keys: Iterable[Hashable]) -> list[list[int]]:
    """Indices of the rows of each key that occurs more than once."""
    groups: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    return [g for g in groups.values() if len(g) > 1]


def places_of(groups: Sequence[Sequence[object]]) -> tuple[str, ...]:
    """One line per group of places: ``file:1 = file:7``."""
    return tuple(" = ".join(map(str, g)) for g in groups[:MAX_PLACES])
