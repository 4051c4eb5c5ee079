"""The opening of a prompt: by it prompts are told to be one, and kept in one split."""

import re
from collections.abc import Sequence
from itertools import takewhile
from unicodedata import category, combining

from guerdon_service.core.conversation import Message

_NOT_WORD = re.compile(r"[\W_]+")
_ACCENTS = 200
"""Combining classes from here on are accents above and below; lower case makes some of them."""


def opening(prompt: Sequence[Message]) -> str:
    """First user turn, case and punctuation folded; less its space where it has nothing else, as emoji.

    Vowel signs are part of their word. Operators fold as punctuation does: C++ opens as C# does.
    """
    first = next((m.content for m in prompt if m.role == "user"), "")
    return _NOT_WORD.sub(_folded, first.lower()).strip() or " ".join(first.split())


def _folded(found: re.Match[str]) -> str:
    """A space for what stands between words, after the signs that belong to the word before."""
    between = found.group()
    signs = "".join(takewhile(_is_sign, between)) if found.start() else ""
    return signs if signs == between else f"{signs} "


def _is_sign(character: str) -> bool:
    """Whether it is a vowel sign, or another written around a letter, as in Indic and Semitic scripts."""
    is_selector = "\ufe00" <= character <= "\ufe0f"  # of a look, as emoji have
    return category(character) in ("Mn", "Mc") and combining(character) < _ACCENTS and not is_selector
