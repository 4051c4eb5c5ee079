"""Which pair trains, or tests, which head."""

from collections.abc import Sequence
from dataclasses import dataclass

from guerdon_training.config import HeadConfig
from guerdon_training.data import PreferencePair


@dataclass(frozen=True, slots=True)
class Tagged:
    """A pair and the number of the head that it belongs to."""

    pair: PreferencePair
    head: int


def tag(pairs: Sequence[PreferencePair], heads: Sequence[HeadConfig], *, trained: bool) -> list[Tagged]:
    """Pairs of each head's sources; `trained` keeps only the subsets that the head may learn from."""
    found = []
    for number, head in enumerate(heads):
        subsets = {s.source: s.subsets for s in head.sources}
        for pair in pairs:
            kept = subsets.get(pair.source)
            if kept is not None and (not trained or not kept or pair.subset in kept):
                found.append(Tagged(pair, number))
    return found
