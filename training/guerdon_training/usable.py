"""Whether tagged pairs can train, or measure, every head: asked before the first step."""

from collections.abc import Sequence

from guerdon_service.core.errors import InvalidInput
from guerdon_training.config import HeadConfig
from guerdon_training.data import PreferencePair
from guerdon_training.rows import Rows
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
        check_classes(own, file, f"of the head {head.name}")


def check_sources(tagged: Sequence[Tagged], heads: Sequence[HeadConfig]) -> None:
    """Refuse a source of a head that no pair of any split has: misspelt, it would train nothing, in silence.

    Raises:
        InvalidInput: the source is named, and those that there are.
    """
    there = {t.pair.source for t in tagged}
    absent = sorted({s.source for head in heads for s in head.sources} - there)
    if absent:
        raise InvalidInput(
            f"config heads name the source {absent[0]}, of which no file of data has a pair; they have "
            f"{', '.join(sorted(there))}. Spell it as the files do, or leave it out",
            param="heads",
        )


def check_classes(pairs: Sequence[PreferencePair], file: str, which: str = "") -> None:
    """Refuse pairs of one class: ties alone, or one comparison over and over.

    Raises:
        InvalidInput: the file and the first line are named.
    """
    what = " ".join(filter(None, (f"{file}: all {len(pairs)} pairs", which, f"from {pairs[0].place} on")))
    if all(p.is_tie for p in pairs):
        raise InvalidInput(
            f"{what} tie, so nothing in them is better; add pairs with a preference", param="data"
        )
    if len(pairs) > 1 and len({(p.chosen, p.rejected) for p in pairs}) == 1:
        raise InvalidInput(
            f"{what} prefer one and the same text to one other, so a model could learn these two alone; add "
            "pairs with other responses",
            param="data",
        )


def check_fits(rows: Rows, heads: Sequence[HeadConfig], file: str, max_tokens: int) -> None:
    """Refuse a split of which no pair of a head fits the model.

    Raises:
        InvalidInput: the file and the head are named.
    """
    for number, head in enumerate(heads):
        if not any(c.head == number for c in rows.comparisons):
            raise InvalidInput(
                f"no pair of {file} for the head {head.name} fits max_tokens = {max_tokens}; raise it",
                param="max_tokens",
            )
