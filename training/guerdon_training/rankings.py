"""From the comparisons of a prompt back to the ranking that they are."""

from collections.abc import Sequence
from dataclasses import dataclass

from guerdon_training.rows import Comparison


@dataclass(frozen=True, slots=True)
class Ranking:
    """Rows of one prompt's responses with their ranks, 1 the best; equal ranks tie."""

    rows: tuple[int, ...]
    ranks: tuple[int, ...]
    head: int
    group: int


def rankings(comparisons: Sequence[Comparison]) -> list[Ranking]:
    """Rankings behind `comparisons`, in the order of their groups.

    A group that compares each two of its responses exactly once is one ranking, by wins, a tie half a win for
    each; a cycle ends as a tie. In any other group the missing comparisons are unknown, and each pair is a
    ranking of two.
    """
    groups: dict[int, list[Comparison]] = {}
    for c in comparisons:
        groups.setdefault(c.group, []).append(c)
    return [ranking for group in groups.values() for ranking in _of_group(group)]


def _of_group(group: Sequence[Comparison]) -> list[Ranking]:
    pairs = {frozenset((c.chosen, c.rejected)) for c in group}
    rows = sorted({row for pair in pairs for row in pair})
    if not len(group) == len(pairs) == len(rows) * (len(rows) - 1) // 2:
        return [ranking for c in group for ranking in _of_group([c])]
    wins = dict.fromkeys(rows, 0.0)
    for c in group:
        wins[c.chosen] += 0.5 if c.target.tie else 1.0
        wins[c.rejected] += 0.5 if c.target.tie else 0.0
    ranks = [1 + sum(other > wins[row] for other in wins.values()) for row in rows]
    return [Ranking(tuple(rows), tuple(ranks), group[0].head, group[0].group)]
