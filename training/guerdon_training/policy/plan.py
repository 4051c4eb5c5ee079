"""Which examples make which update, and how they are packed."""

from collections.abc import Iterator, Sequence
from random import Random

from guerdon_training.policy.rows import fill


def num_steps(num_items: int, items_per_step: int) -> int:
    """Updates of one epoch; the last may be smaller."""
    return -(-num_items // items_per_step)


def epoch_steps(num_items: int, items_per_step: int, seed: int, epoch: int) -> Iterator[list[int]]:
    """Indices of each step. The order depends on the seed and the epoch alone, so a run can resume."""
    order = list(range(num_items))
    Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311 - reproducible order, not a secret
    for first in range(0, num_items, items_per_step):
        yield order[first : first + items_per_step]


def packed(items: Sequence[int], lengths: Sequence[int], max_row_tokens: int) -> list[list[int]]:
    """`items` (indices into `lengths`) by row, as `rows.fill` puts them."""
    rows = fill([lengths[i] for i in items], max_row_tokens)
    return [[items[k] for k in row] for row in rows]
