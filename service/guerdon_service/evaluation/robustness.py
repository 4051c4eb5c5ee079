"""Changes of a response that a good reward should ignore, or punish; after reWordBench (arXiv 2503.11751)."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.evaluation import ItemScores
from guerdon_service.core.statistics.clustered import clustered_mean, clustered_rate
from guerdon_service.evaluation.item import Item
from guerdon_service.evaluation.read import read_items
from guerdon_service.evaluation.report import RobustnessRow
from guerdon_service.evaluation.score import CHUNK_ITEMS
from guerdon_service.evaluation.table import Floats

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


PROBE_CHUNK = CHUNK_ITEMS // len(TRANSFORMS)
"""Probes of one request: as many conversations as a request of items has."""


def check_robustness(num_pairs: int) -> None:
    """Raise `InvalidInput` for a number of pairs below 0."""
    if num_pairs < 0:
        raise InvalidInput(
            f"robustness is {num_pairs}; give how many pairs to change, 0 for none", param="robustness"
        )


def probes(files: tuple[Path, ...], num_pairs: int) -> Iterator[Item]:
    """At most `num_pairs` pairs, spread evenly through the files; responses are the chosen one under each
    transform, under the pair's id.

    Raises:
        InvalidInput: the files are not as they should be.
    """
    for item in _sample(files, num_pairs):
        changed = tuple(transform.apply(item, _chosen(item)) for transform in TRANSFORMS.values())
        yield replace(item, responses=changed)


def measure_robustness(
    files: tuple[Path, ...],
    num_pairs: int,
    scores: Mapping[str, ItemScores],
    changed: Mapping[str, ItemScores],
) -> tuple[RobustnessRow, ...]:
    """A row per transform, over the pairs of `probes` of which nothing was refused.

    Args:
        files: of which `probes` read.
        num_pairs: as `probes` was told.
        scores: of the pairs as they are, by id.
        changed: of `probes`, by id.
    """
    rewards, clusters = [], []
    for item in _sample(files, num_pairs):
        plain, probed = scores[item.id].rewards, changed[item.id].rewards
        if plain is not None and probed is not None:
            rewards.append((*(plain if item.grades[0] > item.grades[1] else plain[::-1]), *probed))
            clusters.append(item.cluster)
    table = np.array(rewards)
    return tuple(_row(name, i, table, clusters) for i, name in enumerate(TRANSFORMS, start=2) if rewards)


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


def _sample(files: tuple[Path, ...], num_pairs: int) -> Iterator[Item]:
    """Read as they are asked for: the pairs of a large file need not fit into memory."""
    if num_pairs == 0:
        return
    total = sum(1 for _ in _pairs(files))
    for i, item in enumerate(_pairs(files)):
        if i * num_pairs % total < num_pairs:
            yield item


def _pairs(files: tuple[Path, ...]) -> Iterator[Item]:
    """Pairs of which one was preferred."""
    return (i for i in read_items(files) if len(i.responses) == 2 and i.grades[0] != i.grades[1])


def _chosen(item: Item) -> str:
    return item.responses[0 if item.grades[0] > item.grades[1] else 1]
