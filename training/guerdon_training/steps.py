"""Which comparisons make one update, and how they are padded together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random

from guerdon_training.forward import by_budget
from guerdon_training.rows import Comparison, Rows


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Rows that go through the model together, and comparisons as positions among them."""

    rows: tuple[int, ...]
    comparisons: tuple[Comparison, ...]


def epoch_steps(
    rows: Rows, pairs_per_step: int, max_batch_tokens: int, random: Random
) -> Iterator[list[MicroBatch]]:
    """Shuffle the prompts; each step takes prompts until it holds `pairs_per_step` comparisons.

    A prompt's comparisons always share a micro-batch, so each of its responses is computed once.
    """
    order = list(range(len(rows.groups)))
    random.shuffle(order)
    step: list[int] = []
    size = 0
    for group in order:
        step.append(group)
        size += len(rows.groups[group])
        if size >= pairs_per_step:
            yield _micro_batches(rows, step, max_batch_tokens)
            step, size = [], 0
    if step:
        yield _micro_batches(rows, step, max_batch_tokens)


def _micro_batches(rows: Rows, groups: Sequence[int], max_batch_tokens: int) -> list[MicroBatch]:
    members = [_rows_of(rows, group) for group in groups]
    widths = [max(len(rows.tokens[r].input_ids) for r in m) for m in members]
    order = sorted(range(len(groups)), key=widths.__getitem__)
    cuts = by_budget(widths, order, max_batch_tokens, [len(m) for m in members])
    return [_micro_batch(rows, [groups[i] for i in cut]) for cut in cuts]


def _micro_batch(rows: Rows, groups: Sequence[int]) -> MicroBatch:
    needed = [r for group in groups for r in _rows_of(rows, group)]
    place = {r: i for i, r in enumerate(needed)}
    picked = [rows.comparisons[i] for group in groups for i in rows.groups[group]]
    return MicroBatch(
        tuple(needed), tuple(replace(c, chosen=place[c.chosen], rejected=place[c.rejected]) for c in picked)
    )


def _rows_of(rows: Rows, group: int) -> list[int]:
    comparisons = [rows.comparisons[i] for i in rows.groups[group]]
    return sorted({row for c in comparisons for row in (c.chosen, c.rejected)})
