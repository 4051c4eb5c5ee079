"""Pairs from judged completions of twin prompts, one safe and one not: when a refusal is right, and when not.

A head trained on what people call harmful learns that refusals win. Of the prompts of XSTest (Röttger et
al., arXiv 2308.01263) half only sound harmful, and their completions were judged by people one by one.
Crossed with each other they say both: a safe prompt's own compliance beats a refusal that was written for
another prompt, and an unsafe prompt's own refusal beats the compliance with the safe prompt most like it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_training.data import PreferencePair
from guerdon_training.directions import CONTRAST
from guerdon_training.record import Record, read_records

_SEED = 0
"""Of the choice of refusals."""
COMPLIANCE, REFUSAL = "1_full_compliance", "2_full_refusal"


@dataclass(frozen=True, slots=True)
class _Completion:
    prompt: str
    response: str
    safe: bool


def crossed_pairs(path: Path, source: str) -> list[PreferencePair]:
    """Pairs from the train rows of `source` in an annotation file.

    A row has ``prompt``, ``response_a``, ``label`` (`COMPLIANCE`, `REFUSAL` or another), ``subset`` (that of
    an unsafe prompt begins with ``contrast``), ``source`` and ``split``. A completion counts where all its
    annotators agree.

    Raises:
        InvalidInput: the file cannot be read, or has no such completions.
    """
    rows = [r for r in read_records(path) if (r.text("source"), r.text("split")) == (source, "train")]
    complied, refused = _agreed(rows, COMPLIANCE), _agreed(rows, REFUSAL)
    compliances, refusals = [c for c in complied if c.safe], [r for r in refused if not r.safe]
    if not compliances or len({r.prompt for r in refused}) < 2:
        raise InvalidInput(
            f"{path} has no train rows of {source} with labels {COMPLIANCE} and {REFUSAL} to cross; name "
            "another file, or leave crossed out",
            param="heads.sources.crossed",
        )
    random = Random(_SEED)  # noqa: S311 - a repeatable choice, not a secret
    found = [(own, random.choice([r for r in refused if r.prompt != own.prompt])) for own in compliances]
    found += [(own, max(compliances, key=lambda c: _likeness(c.prompt, own.prompt))) for own in refusals]
    return [_pair(f"{source}-crossed-{i}", source, own, other) for i, (own, other) in enumerate(found)]


def _pair(name: str, source: str, own: _Completion, other: _Completion) -> PreferencePair:
    prompt = (Message("user", own.prompt),)
    return PreferencePair(name, prompt, own.response, other.response, source, "crossed")


def _agreed(rows: Sequence[Record], label: str) -> list[_Completion]:
    """Completions that every annotator gave this label, in the order of the file."""
    labels: dict[_Completion, set[str]] = {}
    for row in rows:
        safe = not row.text("subset").startswith(CONTRAST)
        completion = _Completion(row.prompt()[0].content, str(row.need("response_a")), safe)
        labels.setdefault(completion, set()).add(row.text("label"))
    return [completion for completion, given in labels.items() if given == {label}]


def _likeness(a: str, b: str) -> float:
    """Jaccard similarity of the words of two prompts."""
    first, second = (set(re.findall(r"\w+", text.lower())) for text in (a, b))
    return len(first & second) / len(first | second)
