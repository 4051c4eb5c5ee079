"""The letter that a judge names, out of a chat completion."""

import re
from collections.abc import Mapping, Sequence
from math import exp
from typing import Any

_LETTER = re.compile(r"(?<![A-Za-z])([AB])(?![A-Za-z])")
_AROUND = " \t\n\"'*_()[]{}<>.:#`▁Ġ"
"""What tokenizers and Markdown put around a letter."""


def read_p_first(body: Mapping[str, Any]) -> float | None:
    """Probability of A beside B, from the log-probabilities of the token that names one of them.

    The last such token counts, because a judge may reason first. A letter that is not among the alternatives
    has no probability. Without log-probabilities the letter itself decides, with 1 or 0.

    Returns:
        None where neither is named.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, IndexError: no chat completion.
    """
    choice = body["choices"][0]
    tokens = (choice.get("logprobs") or {}).get("content") or ()
    named = next((token for token in reversed(tokens) if _letter(token["token"])), None)
    if named is not None:
        return _share(named, named.get("top_logprobs") or ())
    letters = _LETTER.findall(choice["message"].get("content") or "")
    return float(letters[-1] == "A") if letters else None


def _share(named: Mapping[str, Any], alternatives: Sequence[Mapping[str, Any]]) -> float:
    mass = {"A": 0.0, "B": 0.0}
    for alternative in alternatives:
        if letter := _letter(alternative["token"]):
            mass[letter] += exp(min(float(alternative["logprob"]), 0.0))
    total = mass["A"] + mass["B"]
    return mass["A"] / total if total else float(_letter(named["token"]) == "A")


def _letter(token: str) -> str:
    bare = token.strip(_AROUND)
    return bare if bare in ("A", "B") else ""
