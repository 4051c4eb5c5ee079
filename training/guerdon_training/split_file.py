"""`guerdon data split`: one file of preference records to three, of which no two share a prompt."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.opening import opening
from guerdon_service.core.whole_file import interrupted_later, write_whole
from guerdon_training.audit.fold import fold
from guerdon_training.data import read_pairs
from guerdon_training.record import read_records

SHARES = {"train": 0.70, "valid": 0.15, "test": 0.15}
"""Of the different openings; of the records roughly, where some prompts have many."""


def split_of(prompt: Sequence[Message], seed: int) -> str:
    """Where a prompt belongs, by a hash of its first user turn, with case, punctuation and layout folded.

    It hangs on nothing else, so that a file to which pairs were added is split as before: nothing that was
    held out is trained on later.
    """
    first = next((m.content for m in prompt if m.role == "user"), "")
    key = opening((Message("user", fold(first)),))
    place = int.from_bytes(hashlib.sha256(f"{seed} {key}".encode()).digest()[:8], "big") / 2**64
    below = 0.0
    for name, share in SHARES.items():
        below += share
        if place < below:
            return name
    return name


def split_file(source: Path, folder: Path, seed: int) -> dict[str, int]:
    """Write each record of `source`, as it is, to ``train.jsonl``, ``valid.jsonl`` or ``test.jsonl``.

    Returns:
        Records by split.

    Raises:
        InvalidInput: `source` cannot be used or would be written over, or a split would be empty.
    """
    if source.resolve() in [(folder / f"{name}.jsonl").resolve() for name in SHARES]:
        raise InvalidInput(f"{source} would be written over; give another --output", param="output")
    read_pairs(source, ties=True)  # every line is sound
    lines: dict[str, list[str]] = {name: [] for name in SHARES}
    for record in read_records(source):
        line = json.dumps(dict(record.values), ensure_ascii=False) + "\n"
        lines[split_of(record.prompt(), seed)].append(line)
    for name, found in lines.items():
        if not found:
            raise InvalidInput(
                f"{name} of {source} would be empty; give more prompts, or another --seed", param="data"
            )
    folder.mkdir(parents=True, exist_ok=True)
    with interrupted_later():  # not between two of them
        for name, found in lines.items():
            write_whole(folder / f"{name}.jsonl", "".join(found))
    return {name: len(found) for name, found in lines.items()}
