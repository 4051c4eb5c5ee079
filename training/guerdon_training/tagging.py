"""Which pair trains, or tests, which head."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from guerdon_service.core.errors import InvalidInput
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
    """A pair, the number of the head that it belongs to, and what it says to an objective."""

    pair: PreferencePair
    head: int
    target: Target = field(default_factory=Target)


def tag(pairs: Sequence[PreferencePair], heads: Sequence[HeadConfig], *, trained: bool) -> list[Tagged]:
    """Pairs of each head's sources; `trained` keeps only the subsets that the head may learn from.

    Each says the share of its votes; for those that train `targets.with_targets` says what the config asks.

    Raises:
        InvalidInput: a record without a source, where no head takes such: which one it trains is unknown.
    """
    found = []
    sourceless = next((p for p in pairs if not p.source), None)
    if sourceless and not any(s.source == "" for head in heads for s in head.sources):
        raise InvalidInput(
            f"{sourceless.place or sourceless.id} has no source, so no head would learn from it; add source, "
            'or a source "" to one of heads',
            param="data",
        )
    for number, head in enumerate(heads):
        subsets = {s.source: s.subsets for s in head.sources}
        for pair in pairs:
            kept = subsets.get(pair.source)
            if kept is not None and (not trained or not kept or pair.subset in kept):
                found.append(Tagged(pair, number, Target(pair.share)))
    return found
