"""What the measures need of a data set, in compact arrays: texts are read, measured and let go."""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.evaluation import ItemScores
from guerdon_service.evaluation.item import Item

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SliceKind = Literal["subset", "shape", "tag", "group"]


@dataclass(frozen=True, slots=True)
class SliceKey:
    """``subset``, ``tag`` or demographic ``group`` of a name, or the ``shape`` of the items."""

    kind: SliceKind
    name: str


@dataclass(frozen=True, slots=True)
class ItemTable:
    """N items with R responses in all; the responses of item i are ``offsets[i]:offsets[i + 1]``.

    ids: N ids.
    offsets: int64 [N + 1].
    grades, votes: float64 [R]; votes are all 0.0 for an item without any.
    tie_votes: float64 [N].
    lengths: int64 [R], characters.
    styles: int64 [R], -1 where the item is no style matrix.
    clusters: int64 [N], numbered from 0.
    slices: int64 indices of the items of each slice, in order of appearance.
    """

    ids: tuple[str, ...]
    offsets: Ints
    grades: Floats
    votes: Floats
    tie_votes: Floats
    lengths: Ints
    styles: Ints
    clusters: Ints
    slices: Mapping[SliceKey, Ints]

    @property
    def num_items(self) -> int:
        """N."""
        return len(self.ids)

    @property
    def sizes(self) -> Ints:
        """Responses of each item, int64 [N]."""
        return np.diff(self.offsets)

    @property
    def owners(self) -> Ints:
        """Item of each response, int64 [R]."""
        return np.repeat(np.arange(self.num_items), self.sizes)

    def rewards(self, scores: Callable[[str], ItemScores | None]) -> Floats:
        """Scores by item id as float64 [R], NaN where the item was refused.

        Raises:
            InvalidInput: an item has no scores, or not one per response.
        """
        rewards = np.full(len(self.grades), np.nan)
        for i, item_id in enumerate(self.ids):
            found = scores(item_id)
            start, end = self.offsets[i], self.offsets[i + 1]
            if found is None or (found.rewards is not None and len(found.rewards) != end - start):
                raise InvalidInput(
                    f"item {item_id} has no scores that fit its responses; score this very data", param="data"
                )
            if found.rewards is not None:
                rewards[start:end] = found.rewards
        return rewards


class TableBuilder:
    """Items in, one by one; `table` when all have been seen."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._offsets = array("q", [0])
        self._grades, self._votes, self._tie_votes = array("d"), array("d"), array("d")
        self._lengths, self._styles, self._clusters = array("q"), array("q"), array("q")
        self._cluster_codes: dict[bytes, int] = {}
        self._slices: dict[SliceKey, array[int]] = {}

    def add(self, item: Item) -> None:
        """Take one item's measurements."""
        index, count = len(self._ids), len(item.responses)
        self._ids.append(item.id)
        self._offsets.append(self._offsets[-1] + count)
        self._grades.extend(item.grades)
        self._votes.extend(item.votes or (0.0,) * count)
        self._tie_votes.append(item.tie_votes)
        self._lengths.extend(map(len, item.responses))
        self._styles.extend(item.styles or (-1,) * count)
        digest = hashlib.blake2b(item.cluster.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._clusters.append(self._cluster_codes.setdefault(digest, len(self._cluster_codes)))
        for key in _keys(item):
            self._slices.setdefault(key, array("q")).append(index)

    def table(self) -> ItemTable:
        """All that was added."""
        return ItemTable(
            ids=tuple(self._ids),
            offsets=np.array(self._offsets, dtype=np.int64),
            grades=np.array(self._grades, dtype=np.float64),
            votes=np.array(self._votes, dtype=np.float64),
            tie_votes=np.array(self._tie_votes, dtype=np.float64),
            lengths=np.array(self._lengths, dtype=np.int64),
            styles=np.array(self._styles, dtype=np.int64),
            clusters=np.array(self._clusters, dtype=np.int64),
            slices={
                key: np.array(rows, dtype=np.int64)
                for key, rows in self._slices.items()
                if key.kind != "shape" or len(rows) < len(self._ids)  # one shape alone goes without saying
            },
        )


def build_table(items: Iterable[Item]) -> ItemTable:
    """The table of all items."""
    builder = TableBuilder()
    for item in items:
        builder.add(item)
    return builder.table()


def _keys(item: Item) -> Iterator[SliceKey]:
    yield SliceKey("subset", item.subset)
    size = len(item.responses)
    shape = "style matrix" if item.styles else "pair" if size == 2 else f"best of {size}"
    yield SliceKey("shape", shape)
    for tag in item.tags:
        yield SliceKey("tag", tag)
    for name, value in item.demographics.items():
        yield SliceKey("group", f"{name}={value}")
