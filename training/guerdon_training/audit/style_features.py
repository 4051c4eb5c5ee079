"""Surface features of a response that a reward model can learn in place of quality."""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType

_BULLET = re.compile(r"^[ \t]*[-*+•] +\S", re.MULTILINE)
_NUMBERED = re.compile(r"^[ \t]*\d{1,3}[.)] +\S", re.MULTILINE)
_BOLD = re.compile(r"\*\*[^*\n]+\*\*|__[^_\n]+__")
_HEADER = re.compile(r"^ {0,3}#{1,6} +\S", re.MULTILINE)
_CODE = re.compile(r"```|`[^`\n]+`")


def _counter(pattern: re.Pattern[str]) -> Callable[[str], int]:
    return lambda text: sum(1 for _ in pattern.finditer(text))


def _markdown(text: str) -> int:
    return sum(FEATURES[name](text) for name in ("bullets", "numbered items", "bold", "headers", "code"))


FEATURES: Mapping[str, Callable[[str], int]] = MappingProxyType(
    {
        "bullets": _counter(_BULLET),
        "numbered items": _counter(_NUMBERED),
        "bold": _counter(_BOLD),
        "headers": _counter(_HEADER),
        "code": _counter(_CODE),
        "markdown": _markdown,
        "exclamation marks": lambda text: text.count("!"),
        "question marks": lambda text: text.count("?"),
        "line breaks": lambda text: text.count("\n"),
    }
)
"""Name to how often it occurs in a text."""
