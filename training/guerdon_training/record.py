"""Lines of a JSON Lines file, plain or gzip; every complaint names the file, the line and the remedy."""

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from sys import float_info
from typing import Any

from guerdon_service.core.conversation import ROLES, Message
from guerdon_service.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Record:
    """One JSON object and where it stands, ``file:line``. Readers raise `InvalidInput`."""

    where: str
    values: Mapping[str, Any]

    def bad(self, problem: str) -> InvalidInput:
        """The error to raise about this line."""
        return InvalidInput(f"{self.where} {problem}", param="data")

    def need(self, key: str) -> Any:
        """A column that must be there."""
        if key not in self.values:
            have = ", ".join(self.values) or "nothing"
            raise self.bad(
                f"has no {key} (it has {have}); each line needs prompt [{{role, content}}], chosen and "
                "rejected, or prompt, responses and ranks; guerdon data convert reads other formats"
            )
        return self.values[key]

    def items(self, key: str, kind: type) -> list[Any] | None:
        """A list of `kind`, which must be there; None where it is something else."""
        value = self.need(key)
        fits = isinstance(value, list) and all(type(v) is kind for v in value)
        return value if fits else None

    def number(self, key: str) -> float | None:
        """A finite number of at least 0; None where the column is missing or null."""
        value = self.values.get(key)
        if value is not None and (type(value) not in (int, float) or not 0 <= value <= float_info.max):
            raise self.bad(f"{key} must be a number of at least 0, and finite; fix the line")
        return None if value is None else float(value)

    def text(self, key: str) -> str:
        """A column as text; empty where it is missing or null."""
        value = self.values.get(key)
        return "" if value is None else str(value)

    def prompt(self) -> tuple[Message, ...]:
        """Turns of known roles, a user's among them."""
        turns = self.items("prompt", dict)
        if turns is None or not all(isinstance(t.get(k), str) for t in turns for k in ("role", "content")):
            raise self.bad(
                "prompt must be a list of {role, content}, both strings; guerdon data convert reads other "
                "formats"
            )
        for turn in turns:
            if turn["role"] not in ROLES:
                known = ", ".join(ROLES)
                raise self.bad(f"has the unknown role {turn['role']!r} in prompt; use one of {known}")
        if not any(turn["role"] == "user" for turn in turns):
            raise self.bad("has no user turn in prompt; add one")
        return tuple(Message(turn["role"], turn["content"]) for turn in turns)


def read_records(path: Path) -> Iterator[Record]:
    """Every line that is not blank.

    Raises:
        InvalidInput: the file is missing or not UTF-8, or a line is no JSON object.
    """
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if line.strip():
            yield _record(line, f"{path}:{number}")


def _text(path: Path) -> str:
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist; give the path of a JSON Lines file", param="data")
    data = path.read_bytes()
    try:
        data = gzip.decompress(data) if path.suffix == ".gz" else data
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data[: err.start].count(b"\n") + 1
        raise InvalidInput(
            f"{path}:{line} is not UTF-8 ({err}); save the file as UTF-8", param="data"
        ) from None
    except (OSError, EOFError, zlib.error) as err:
        raise InvalidInput(f"{path} cannot be read ({err}); give UTF-8 JSON Lines", param="data") from None


def _record(line: str, where: str) -> Record:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as err:
        raise InvalidInput(
            f"{where} is not JSON ({err}); fix the line; guerdon data convert reads CSV and other formats",
            param="data",
        ) from None
    if not isinstance(values, dict):
        raise InvalidInput(
            f"{where} is not a JSON object; each line needs prompt, chosen and rejected", param="data"
        )
    check_unicode(values, where)
    return Record(where, values)


def check_unicode(values: Mapping[str, Any], where: str) -> None:
    """Refuse text that no tokenizer takes: JSON's escapes can write half of a character.

    Raises:
        InvalidInput: a value holds a lone surrogate.
    """
    try:
        json.dumps(values, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as err:
        half = ascii(err.object[err.start : err.end])
        raise InvalidInput(
            f"{where} holds half a character ({half}), which is not UTF-8; fix the line", param="data"
        ) from None
