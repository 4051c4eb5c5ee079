"""Preference records: JSON Lines (plain or gzip) to frozen dataclasses."""

import gzip
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class PreferencePair:
    """One human judgement: `chosen` was preferred to `rejected` as the answer to `prompt`."""

    id: str
    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    source: str
    subset: str

    @property
    def cluster(self) -> str:
        """Key shared by all pairs with the same opening: first user turn, case and punctuation folded."""
        first = next(m.content for m in self.prompt if m.role == "user")
        return re.sub(r"[\W_]+", " ", first.lower()).strip()


def read_pairs(path: Path) -> tuple[PreferencePair, ...]:
    """Read one file of preference records.

    Raises:
        InvalidInput: the file is missing, empty or not UTF-8, or a line is not a preference record; the
            message names the file, the line and the remedy.
    """
    pairs = tuple(_parse(line, f"{path}:{number}") for number, line in _lines(path))
    if not pairs:
        raise InvalidInput(f"{path} holds no record; give a file with preference pairs", param="data")
    return pairs


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, read in pieces: weights are large."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist; give the path of a JSON Lines file", param="data")
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (UnicodeDecodeError, OSError, EOFError) as err:
        raise InvalidInput(f"{path} cannot be read ({err}); give UTF-8 JSON Lines", param="data") from None
    return ((n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip())


def _parse(line: str, where: str) -> PreferencePair:
    try:
        record: dict[str, Any] = json.loads(line)
        prompt = tuple(Message(str(m["role"]), str(m["content"])) for m in record["prompt"])
        chosen, rejected = record["chosen"], record["rejected"]
    except (ValueError, KeyError, TypeError) as err:
        raise InvalidInput(
            f"{where} is not a preference record ({type(err).__name__}: {err}); each line needs prompt "
            "[{role, content}], chosen and rejected",
            param="data",
        ) from None
    if not any(m.role == "user" for m in prompt):
        raise InvalidInput(f"{where} has no user turn in prompt; add one", param="data")
    if not (isinstance(chosen, str) and isinstance(rejected, str) and chosen and rejected):
        raise InvalidInput(
            f"{where}: chosen and rejected must be non-empty strings; fix the line", param="data"
        )
    if chosen == rejected:
        raise InvalidInput(f"{where}: chosen equals rejected; drop the line", param="data")
    source, subset = str(record.get("source", "")), str(record.get("subset") or "")
    return PreferencePair(str(record.get("id", where)), prompt, chosen, rejected, source, subset)
