"""The script that most letters of a text are in."""

import re
from collections.abc import Mapping
from types import MappingProxyType

_RANGES = {
    "Latin": "A-Za-zªºÀ-ÖØ-öø-ɏḀ-ỿ",
    "Greek": "Ͱ-Ͽἀ-῿",
    "Cyrillic": "Ѐ-ԯ",
    "Hebrew": "֐-׿",
    "Arabic": "؀-ۿݐ-ݿ",
    "Devanagari": "ऀ-ॿ",
    "Bengali": "ঀ-৿",
    "Tamil": "஀-௿",
    "Thai": "฀-๿",
    "Hangul": "ᄀ-ᇿ가-힣",
    "Kana": "぀-ヿ",
    "Han": "㐀-䶿一-鿿",
}
_PATTERNS = {name: re.compile(f"[{ranges}]") for name, ranges in _RANGES.items()}
_MAX_CHARS = 2000  # the guess does not change after that

LANGUAGE_SCRIPTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("en", "pt", "es", "fr", "de", "it", "nl", "pl", "tr", "vi", "id", "sv"), frozenset({"Latin"})
        ),
        **dict.fromkeys(("ru", "uk", "bg"), frozenset({"Cyrillic"})),
        "zh": frozenset({"Han"}),
        "ja": frozenset({"Kana", "Han"}),
        "ko": frozenset({"Hangul"}),
        "el": frozenset({"Greek"}),
        "he": frozenset({"Hebrew"}),
        **dict.fromkeys(("ar", "fa", "ur"), frozenset({"Arabic"})),
        "hi": frozenset({"Devanagari"}),
        "bn": frozenset({"Bengali"}),
        "ta": frozenset({"Tamil"}),
        "th": frozenset({"Thai"}),
    }
)
"""ISO 639-1 code to the scripts it is written in."""


def script_of(text: str) -> str:
    """Name of the commonest script; ``none`` for a text without letters, ``other`` for scripts not listed."""
    text = text[:_MAX_CHARS]
    if text.isascii():
        return "Latin" if any(c.isalpha() for c in text) else "none"
    counts = {name: len(pattern.findall(text)) for name, pattern in _PATTERNS.items()}
    name = max(counts, key=counts.__getitem__)
    return name if counts[name] else "other" if any(c.isalpha() for c in text) else "none"
