"""Which pair trains, or tests, which head."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from guerdon_training.config import HeadConfig
from guerdon_training.data import PreferencePair


@dataclass(frozen=True, slots=True)
class Target:
    """What a pair says: probability that the chosen response is judged better, and that neither is.

    margin: by how much the better one should lead, in nats of reward.
    """

    label: float = 1.0
    tie: float = 0.0
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Tagged:
    """A pair, the number of the head that it belongs to, and what it says."""

    pair: PreferencePair
    head: int
    target: Target = field(default_factory=Target)


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
