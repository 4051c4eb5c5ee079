"""Text folded for comparison, so that a change of case or layout does not hide a duplicate."""

import unicodedata
from collections.abc import Sequence

from guerdon_service.core.conversation import Message


def fold(text: str) -> str:
    """Compatibility forms (NFKC), case and runs of white space folded; nothing else."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def fold_prompt(prompt: Sequence[Message]) -> str:
    """A whole prompt on one line, each turn led by its role."""
    return " ".join(f"{m.role}: {fold(m.content)}" for m in prompt)
