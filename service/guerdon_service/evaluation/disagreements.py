"""The items that a model got wrong with the largest margins, with their texts, for people to read."""

from collections.abc import Iterable

import numpy as np

from guerdon_service.core.calibration import sigmoid
from guerdon_service.evaluation.correctness import contests
from guerdon_service.evaluation.item import Item
from guerdon_service.evaluation.measure import Judged
from guerdon_service.evaluation.report import Disagreement
from guerdon_service.evaluation.table import ItemTable

MAX_SHOWN = 30
MAX_CHARS = 1500
"""Of one text; the end of a prompt and the beginning of a response are kept."""


def worst_disagreements(table: ItemTable, judged: Judged, items: Iterable[Item]) -> tuple[Disagreement, ...]:
    """At most `MAX_SHOWN`, one per item, worst first.

    Args:
        items: the items of the table, in order; read until the last one that is needed.
    """
    found = contests(table)
    margins = judged.rewards[found.second] - judged.rewards[found.first]
    wrong = np.flatnonzero((margins > 0) & (found.label == 1.0))
    worst: dict[int, int] = {}
    for contest in wrong[np.argsort(-margins[wrong], kind="stable")].tolist():
        worst.setdefault(int(found.item[contest]), contest)
        if len(worst) == MAX_SHOWN:
            break
    shown = {}
    last = max(worst, default=-1)
    for i, item in enumerate(items):
        if i > last:
            break
        if i in worst:
            at = worst[i]
            positions = int(found.first[at] - table.offsets[i]), int(found.second[at] - table.offsets[i])
            shown[i] = _show(item, *positions, judged, int(table.offsets[i]))
    return tuple(shown[i] for i in worst)


def _show(item: Item, preferred: int, higher: int, judged: Judged, start: int) -> Disagreement:
    rewards = float(judged.rewards[start + preferred]), float(judged.rewards[start + higher])
    turns = "\n\n".join(f"{m.role}: {m.content}" for m in item.prompt)
    return Disagreement(
        id=item.id,
        subset=item.subset,
        prompt=turns if len(turns) <= MAX_CHARS else "…" + turns[-MAX_CHARS:],
        preferred=_beginning(item.responses[preferred]),
        scored_higher=_beginning(item.responses[higher]),
        reward_preferred=rewards[0],
        reward_scored_higher=rewards[1],
        probability=sigmoid(judged.slope * (rewards[0] - rewards[1])),
    )


def _beginning(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[:MAX_CHARS] + "…"
