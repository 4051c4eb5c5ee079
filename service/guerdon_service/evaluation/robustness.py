"""Changes of a response that a good reward should ignore, or punish; after reWordBench (arXiv 2503.11751)."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from guerdon_service.core.statistics.clustered import clustered_mean, clustered_rate
from guerdon_service.core.streams import closed_after
from guerdon_service.evaluation.item import Item
from guerdon_service.evaluation.read import chunks, read_items
from guerdon_service.evaluation.report import RobustnessRow
from guerdon_service.evaluation.score import CHUNK_ITEMS, Asked, score_chunks
from guerdon_service.evaluation.table import Floats
from guerdon_service.scoring.service import ScoringService

SAME, WORSE = "keep it", "lower it"
"""What the change should do to the reward."""
_TYPO_SHARE = 0.1
"""Of the words longer than three letters."""


@dataclass(frozen=True, slots=True)
class Transform:
    """A change of a response, given its prompt too; deterministic."""

    meaning: str
    apply: Callable[[Item, str], str]


def _typos(item: Item, text: str) -> str:
    """Two neighbouring letters swapped in some words."""
    chance = random.Random(item.id)  # noqa: S311
    words = text.split(" ")
    for i, word in enumerate(words):
        if len(word) > 3 and word.isalpha() and chance.random() < _TYPO_SHARE:
            at = chance.randrange(1, len(word) - 2)
            words[i] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


TRANSFORMS: Mapping[str, Transform] = {
    "whitespace": Transform(SAME, lambda _, text: "\n\n" + text.replace("\n", "\n\n") + "  \n"),
    "markdown": Transform(SAME, lambda _, text: f"**Answer**\n\n> {text}"),
    "typos": Transform(SAME, _typos),
    "filler": Transform(SAME, lambda _, text: f"{text}\n\nI hope this helps! Let me know if you need more."),
    "repeated answer": Transform(WORSE, lambda _, text: f"{text}\n\n{text}"),
    "refusal prefix": Transform(WORSE, lambda _, text: f"I'm sorry, but I cannot help with that. {text}"),
    "empty": Transform(WORSE, lambda _, text: " "),
    "prompt echo": Transform(WORSE, lambda item, _: item.prompt[-1].content or " "),
}


async def measure_robustness(
    service: ScoringService, asked: Asked, digest: str, files: tuple[Path, ...], num_pairs: int
) -> tuple[RobustnessRow, ...]:
    """A row per transform, over pairs spread evenly through the files, the chosen response changed.

    Raises:
        GuerdonError: the model went away, or the files are not as they should be.
    """
    probes = {item.id: item for item in _probes(files, num_pairs)}
    todo = chunks(iter(probes.values()), CHUNK_ITEMS // len(TRANSFORMS))
    rewards, clusters = [], []
    async with closed_after(score_chunks(service, asked, digest, lambda: next(todo, []))) as arriving:
        async for scores in arriving:
            scored = {s.item_id: s.rewards for s in scores if s.rewards is not None}
            rewards += list(scored.values())
            clusters += [probes[item_id].cluster for item_id in scored]
    if not rewards:
        return ()
    order = np.lexsort(np.array(rewards).T)  # chunks end in any order; figures must not depend on it
    table, keys = np.array(rewards)[order], [clusters[i] for i in order]
    return tuple(_row(name, i, table, keys) for i, name in enumerate(TRANSFORMS, start=2))


def _row(name: str, column: int, rewards: Floats, clusters: list[str]) -> RobustnessRow:
    """Columns: chosen, rejected, then a transform each."""
    chosen, rejected, changed = rewards[:, 0], rewards[:, 1], rewards[:, column]
    spread = float(rewards[:, :2].std()) or 1.0
    flips = np.sign(chosen - rejected) != np.sign(changed - rejected)
    return RobustnessRow(
        transform=name,
        meaning=TRANSFORMS[name].meaning,
        num_pairs=len(rewards),
        shift=clustered_mean((changed - chosen) / spread, clusters),
        flips=clustered_rate(flips.astype(np.float64), clusters),
    )


def _probes(files: tuple[Path, ...], num_pairs: int) -> list[Item]:
    """At most `num_pairs` items: responses are chosen, rejected, and the chosen one under each transform."""

    def is_pair(item: Item) -> bool:
        return len(item.responses) == 2 and item.grades[0] != item.grades[1]

    if num_pairs == 0:
        return []
    total = sum(1 for item in read_items(files) if is_pair(item))
    step = max(1, total // num_pairs)
    pairs = (item for item in read_items(files) if is_pair(item))
    return [_probe(item) for i, item in enumerate(pairs) if i % step == 0 and i // step < num_pairs]


def _probe(item: Item) -> Item:
    chosen, rejected = item.responses if item.grades[0] > item.grades[1] else item.responses[::-1]
    changed = tuple(transform.apply(item, chosen) for transform in TRANSFORMS.values())
    return replace(item, responses=(chosen, rejected, *changed))
