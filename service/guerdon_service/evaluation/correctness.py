"""Did the scores put first what people put first? One rule for pairs, best-of-k sets and style matrices."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from guerdon_service.evaluation.table import Floats, Ints, ItemTable


def decided(table: ItemTable) -> NDArray[np.bool_]:
    """bool [N]: people preferred something; only these items can be got right."""
    starts = table.offsets[:-1]
    return np.asarray(np.maximum.reduceat(table.grades, starts) > np.minimum.reduceat(table.grades, starts))


def refused(table: ItemTable, rewards: Floats) -> NDArray[np.bool_]:
    """bool [N]: items without scores.

    Args:
        rewards: float64 [R].
    """
    return np.isnan(rewards[table.offsets[:-1]])


def correctness(table: ItemTable, rewards: Floats) -> Floats:
    """float64 [N] in [0, 1]: of the responses that score highest, the share that people graded highest.

    So a pair counts 1, 0, or 0.5 for equal scores, and the best of k counts 1/#tied. A style matrix counts
    the mean over its cells, a pair each. A refused item (NaN) counts what a choice at random would get.

    Args:
        rewards: float64 [R].
    """
    starts, sizes = table.offsets[:-1], table.sizes
    best = table.grades == np.repeat(np.maximum.reduceat(table.grades, starts), sizes)
    top = rewards == np.repeat(np.maximum.reduceat(rewards, starts), sizes)
    num_top = np.add.reduceat(top.astype(np.float64), starts)
    hits = np.add.reduceat((top & best).astype(np.float64), starts)
    chance = np.add.reduceat(best.astype(np.float64), starts) / sizes
    correct = np.where(num_top > 0, hits / np.maximum(num_top, 1.0), chance)
    for i in np.flatnonzero(table.styles[starts] >= 0):
        correct[i] = style_cells(table, rewards, int(i)).mean()
    return correct


def style_cells(table: ItemTable, rewards: Floats, item: int) -> Floats:
    """float64 [S, S]: is the chosen response of style s above the rejected one of style t? 0.5 for equal.

    A refused item has 0.5 everywhere.
    """
    mine = slice(int(table.offsets[item]), int(table.offsets[item + 1]))
    chosen, rejected = np.split(np.nan_to_num(rewards[mine]), 2)
    return np.asarray((np.sign(chosen[:, None] - rejected[None, :]) + 1.0) / 2.0)


@dataclass(frozen=True, slots=True)
class Contests:
    """M pairs of responses of one item: all whose grades differ, and two-response ties.

    first, second: int64 [M], positions of the responses; `first` is the preferred one.
    label: float64 [M], 1.0, or 0.5 for a tie.
    item: int64 [M].
    """

    first: Ints
    second: Ints
    label: Floats
    item: Ints

    def only(self, mask: NDArray[np.bool_]) -> "Contests":
        """Those that `mask` marks, bool [M]."""
        return Contests(self.first[mask], self.second[mask], self.label[mask], self.item[mask])


def soft_labels(table: ItemTable, found: Contests) -> Floats:
    """float64 [M]: share of votes for `first`, a tie's split evenly; where nobody voted, its label."""
    ours, theirs = table.votes[found.first], table.votes[found.second]
    ties = table.tie_votes[found.item]
    voted = ours + theirs + ties
    return np.where(voted > 0, (ours + ties / 2.0) / np.where(voted > 0, voted, 1.0), found.label)


def contests(table: ItemTable) -> Contests:
    """All contests of the table."""
    pairs = np.flatnonzero(table.sizes == 2)
    left = table.offsets[pairs]
    swap = table.grades[left + 1] > table.grades[left]
    tie = table.grades[left + 1] == table.grades[left]
    first, second = [left + swap], [left + ~swap]
    label, item = [np.where(tie, 0.5, 1.0)], [pairs]
    for i in np.flatnonzero(table.sizes > 2):
        grades = table.grades[table.offsets[i] : table.offsets[i + 1]]
        winners, losers = np.nonzero(grades[:, None] > grades[None, :])
        first.append(winners + table.offsets[i])
        second.append(losers + table.offsets[i])
        label.append(np.ones(len(winners)))
        item.append(np.full(len(winners), i))
    return Contests(*(np.concatenate(parts) for parts in (first, second, label, item)))
