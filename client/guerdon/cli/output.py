"""Where results go: standard output, or a JSONL file that a killed run can continue.

The file is appended to, whole batches at a time, in the input's order. A run that continues it first cuts off
what a kill tore, and the records at its end on which the back end failed: those are asked again.
``OUT.run.json`` beside it says what the results belong to: the verb, the input's SHA-256, the options, and
the model that scored.
"""

import fcntl
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Protocol

from guerdon.errors import BackendFailed, InvalidInput, ModelChanged
from guerdon.types import ModelRef

SYNC_EVERY_S = 5.0
"""A killed process loses nothing that was written; a power cut loses at most this much."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Errors:
    """How many error records there are, and the first one."""

    num: int = 0
    first: Record | None = None

    def plus(self, records: Sequence[Record]) -> "Errors":
        """These, and those among later `records`."""
        bad = [record for record in records if "error" in record]
        return Errors(self.num + len(bad), self.first or next(iter(bad), None))


class Output(Protocol):
    """Takes results in the input's order.

    done: line indices that need no work.
    errors: those of `done`.
    model: what the results are of; None before the first one.
    """

    done: frozenset[int]
    errors: Errors
    model: ModelRef | None

    def check_model(self, model: ModelRef) -> None:
        """Refuse results of another model than the first ones were of."""
        ...

    def write(self, records: Sequence[Record]) -> None:
        """Append."""
        ...

    def close(self) -> None:
        """Make durable."""
        ...


class StreamOutput:
    """Standard output: nothing to continue."""

    def __init__(self) -> None:
        self.done: frozenset[int] = frozenset()
        self.errors = Errors()
        self.model: ModelRef | None = None

    def check_model(self, model: ModelRef) -> None:
        """See `Output`."""
        self.model = self.model or model
        _check_same(self.model, model)

    def write(self, records: Sequence[Record]) -> None:
        """See `Output`."""
        sys.stdout.write(_dump(records))
        sys.stdout.flush()

    def close(self) -> None:
        """See `Output`."""


class FileOutput:
    """A file, opened for this run alone.

    Args:
        run: what the results depend on; a file made for another run is refused.

    Raises:
        InvalidInput: the file belongs to another run, is in use, or is not ours.
    """

    def __init__(self, path: Path, run: Record) -> None:
        self._path, self._run_path = path, path.with_name(path.name + ".run.json")
        try:
            self._file = path.open("ab")
        except OSError as err:
            raise InvalidInput(f"{path} cannot be written: {err}", param="--output") from None
        try:
            self._lock()
            self._run = self._claim(run)
            scored_by = self._run["scored_by"]
            self.model = None if scored_by is None else ModelRef(**scored_by)
            self.done, self.errors = self._recover()
        except BaseException:
            self._file.close()
            raise
        self._synced = time.monotonic()

    def check_model(self, model: ModelRef) -> None:
        """See `Output`; the first model is noted before its first result is written."""
        if self.model is None:
            self.model = model
            self._run |= {"scored_by": asdict(model)}
            self._save_run()
        _check_same(self.model, model)

    def write(self, records: Sequence[Record]) -> None:
        """See `Output`."""
        self._file.write(_dump(records).encode())
        self._file.flush()
        if time.monotonic() - self._synced > SYNC_EVERY_S:
            self._sync()

    def close(self) -> None:
        """See `Output`."""
        self._sync()
        self._file.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(f"{self._path} is being written by another run", param="--output") from None

    def _claim(self, run: Record) -> Record:
        """The run that the file belongs to, which must be this one; an empty file is free."""
        if not self._path.stat().st_size:
            self._run = run | {"scored_by": None}
            self._save_run()
            return self._run
        known = self._known_run()
        for name, value in run.items():
            if known.get(name) != value:
                raise InvalidInput(
                    f"{self._path} holds results of another {name} ({known.get(name)!r}, now {value!r}); "
                    f"choose another --output, or delete it to start again",
                    param="--output",
                )
        return known

    def _known_run(self) -> Record:
        try:
            known: Record = json.loads(self._run_path.read_bytes())
            return known | {"scored_by": known["scored_by"] and asdict(ModelRef(**known["scored_by"]))}
        except FileNotFoundError:
            reason = "exists and was not made by this command"
        except (ValueError, KeyError, TypeError):
            reason = f"cannot be continued, as {self._run_path.name} beside it cannot be read"
        raise InvalidInput(f"{self._path} {reason}; choose another --output", param="--output")

    def _recover(self) -> tuple[frozenset[int], Errors]:
        """Indices of the finished records, and the errors among them; what is not finished is cut off."""
        done: set[int] = set()
        errors, whole, end = Errors(), 0, 0
        held: list[Record] = []
        with self._path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                held.append(self._parse(line))
                end += len(line)
                if not _is_passing(held[-1]):  # what failed before it was that record's own fault
                    done |= {record["index"] for record in held}
                    errors, whole, held = errors.plus(held), end, []
        self._file.truncate(whole)
        return frozenset(done), errors

    def _parse(self, line: bytes) -> Record:
        try:
            record: Record = json.loads(line)
            return record | {"index": int(record["index"])}
        except (ValueError, KeyError, TypeError):
            raise InvalidInput(
                f"{self._path} holds a line that is no result ({line[:40]!r}); choose another --output",
                param="--output",
            ) from None

    def _save_run(self) -> None:
        draft = self._run_path.with_name(self._run_path.name + ".draft")
        with draft.open("wb") as file:
            file.write(json.dumps(self._run, indent=2).encode() + b"\n")
            _fsync(file)
        draft.replace(self._run_path)

    def _sync(self) -> None:
        _fsync(self._file)
        self._synced = time.monotonic()


def _is_passing(record: Record) -> bool:
    """Whether the record may be answered another time."""
    return bool(record.get("error", {}).get("code") == BackendFailed.code)


def _fsync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _dump(records: Sequence[Record]) -> str:
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)


def _check_same(known: ModelRef, model: ModelRef) -> None:
    if known != model:
        raise ModelChanged(
            f"the results so far are of model {known.name} {known.version} ({known.digest[:12]}, "
            f"{known.dtype}), the service now answers with {model.name} {model.version} "
            f"({model.digest[:12]}, {model.dtype}); start again with another --output"
        )
