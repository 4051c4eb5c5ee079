"""Whether tagged pairs can train, or measure, every head: asked before the first step."""

from collections import Counter
from collections.abc import Collection, Sequence

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.statistics.calibration_fit import check_prompts
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


def check_sources(pairs: Sequence[PreferencePair], heads: Sequence[HeadConfig]) -> None:
    """Refuse a source, or a subset of one, that no pair has: misspelt, it would train nothing, in silence.

    Args:
        pairs: of all splits, as they were read.

    Raises:
        InvalidInput: the name is told, and those that there are.
    """
    sources = [s for head in heads for s in head.sources]
    _check_there("source", [s.source for s in sources], {p.source for p in pairs})
    for s in sources:
        subsets = {p.subset for p in pairs if p.source == s.source}
        _check_there(f"subset of source {s.source!r}", s.subsets, subsets)


def left_out(pairs: Sequence[PreferencePair], heads: Sequence[HeadConfig], file: str) -> str:
    """How many pairs no head names the source of, which train and measure nothing; "" where none is."""
    named = {s.source for head in heads for s in head.sources}
    counts = Counter(p.source for p in pairs if p.source not in named)
    told = ", ".join(f"{num} of {source!r}" for source, num in counts.most_common())
    return f"{file}: left out pairs of sources that no head names: {told}" if counts else ""


def _check_there(what: str, names: Sequence[str], there: Collection[str]) -> None:
    absent = next((name for name in names if name not in there), None)
    if absent is not None:
        raise InvalidInput(
            f"config heads name {absent!r} as a {what}, of which no file of data has a pair; they have "
            f"{', '.join(map(repr, sorted(there)))}. Spell it as the files do, or leave it out",
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


def check_calibration(pairs: Sequence[PreferencePair], file: str) -> None:
    """Refuse valid pairs that no slope can be fitted on, as ``guerdon calibrate`` would.

    Raises:
        InvalidInput: they have too few prompts.
    """
    check_prompts(len(pairs), len({p.cluster for p in pairs}), file, param="data.valid")


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
