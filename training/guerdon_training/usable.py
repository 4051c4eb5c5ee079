"""Whether tagged pairs can train, or measure, every head: asked before the first step."""

from collections.abc import Sequence

from guerdon_service.core.errors import InvalidInput
from guerdon_training.config import HeadConfig
from guerdon_training.tagging import Tagged


def check_usable(tagged: Sequence[Tagged], heads: Sequence[HeadConfig], file: str) -> None:
    """Refuse a split that lacks a head's pairs, or holds one class of them: ties alone, or one comparison.

    Raises:
        InvalidInput: the file and the head are named.
    """
    for number, head in enumerate(heads):
        own = [t.pair for t in tagged if t.head == number]
        if not own:
            sources = ", ".join(s.source for s in head.sources) or "none"
            raise InvalidInput(
                f"{file} has no pair for the head {head.name} (its sources: {sources}); add some, or fix "
                "heads.sources",
                param="heads",
            )
        if all(p.is_tie for p in own):
            raise InvalidInput(
                f"{file}: all {len(own)} pairs of the head {head.name} tie, so nothing in them is better; "
                "add pairs with a preference",
                param="data",
            )
        if len(own) > 1 and len({(p.chosen, p.rejected) for p in own}) == 1:
            raise InvalidInput(
                f"{file}: all {len(own)} pairs of the head {head.name} prefer one and the same text to one "
                "other, so it could learn these two alone; add pairs with other responses",
                param="data",
            )
