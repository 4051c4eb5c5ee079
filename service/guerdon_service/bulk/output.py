"""Where parts go, and the manifest of finished slices: a local folder or any fsspec URL.

::

    part-000000.parquet             one slice's scores
    _guerdon/plan.json              what the run is: inputs, model, split
    _guerdon/done-000000.json       that slice 0 is finished, written after its part
    _guerdon/draft-...              what a killed run left; removed by the next one

Readers of Parquet folders pass over names that begin with ``_``. Every file is written under a draft's name
and then renamed, so it is there whole or not at all, and a slice that is done twice is there once.
"""

import fcntl
import json
import os
import uuid
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import fsspec

from guerdon_service.bulk.part import Finished, part_name
from guerdon_service.bulk.plan import Plan, Slice, check_same
from guerdon_service.core.errors import InvalidInput

_KEPT = "_guerdon"


class Output:
    """One run's output folder. Workers `commit`; the driver holds it from `claim` to `release`."""

    def __init__(self, url: str) -> None:
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as err:
            raise InvalidInput(f"{url} cannot be written: {err}", param="--output") from None
        self._url, self._root = url, str(root).rstrip("/")
        self._is_local = "file" in self._files.protocol
        self._lock: IO[bytes] | None = None

    def claim(self, plan: Plan) -> None:
        """Begin the plan's run here, or continue it, alone; drafts of a killed one are removed.

        Raises:
            InvalidInput: the folder cannot be written, holds another run or other files, or is in use.
        """
        try:
            self._files.makedirs(self._path(_KEPT), exist_ok=True)
            if self._is_local:
                self._take_lock()
            self._files.invalidate_cache()
            self._begin(plan)
            for name in self._sizes(_KEPT):
                if name.startswith("draft-"):
                    self._files.rm_file(self._path(f"{_KEPT}/{name}"))
        except (OSError, InvalidInput) as err:
            self.release()
            raise self._refused(err) from err

    def finished(self, plan: Plan) -> dict[int, Finished]:
        """The slices that are done, by index: named by the manifest, their parts there in full length."""
        self._files.invalidate_cache()
        sizes = self._sizes("")
        names = [name for name in self._sizes(_KEPT) if name.startswith("done-") and name.endswith(".json")]
        noted = (Finished(**json.loads(self._read(f"{_KEPT}/{name}"))) for name in names)
        rows = {part.index: part.num_rows for part in plan.slices}
        return {
            done.slice: done
            for done in noted
            if sizes.get(done.part) == done.part_bytes and rows.get(done.slice) == done.num_rows
        }

    def commit(self, part: Slice, data: bytes, *, num_errors: int, num_tokens: int) -> Finished:
        """Write a slice's part, then note that it is done.

        Raises:
            InvalidInput: it cannot be written, for instance because the disk is full; nothing is half there.
        """
        worker = f"{os.uname().nodename}:{os.getpid()}"
        done = Finished(part.index, part_name(part), len(data), part.num_rows, num_errors, num_tokens, worker)
        try:
            self._put(done.part, data)
            self._put(f"{_KEPT}/done-{part.index:06d}.json", _json(asdict(done)))
        except OSError as err:
            raise self._refused(err) from err
        return done

    def release(self) -> None:
        """Let others claim the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _begin(self, plan: Plan) -> None:
        if "plan.json" in self._sizes(_KEPT):
            check_same(json.loads(self._read(f"{_KEPT}/plan.json")), plan, self._url)
            return
        foreign = sorted(self._sizes(""))
        if foreign:
            raise InvalidInput(
                f"{self._url} holds {foreign[0]}, which no run of this command made; choose another --output",
                param="--output",
            )
        self._put(f"{_KEPT}/plan.json", _json(plan.identity()))

    def _take_lock(self) -> None:
        self._lock = Path(self._path(f"{_KEPT}/lock")).open("ab")  # noqa: SIM115 - open until `release`
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidInput(
                f"{self._url} is being written by another run; wait for it, or choose another --output",
                param="--output",
            ) from None

    def _sizes(self, folder: str) -> dict[str, int | None]:
        """Bytes of the files in a folder, by name."""
        entries = self._files.ls(self._path(folder), detail=True)
        found = [entry for entry in entries if entry["type"] == "file"]
        return {str(entry["name"]).rpartition("/")[2]: entry["size"] for entry in found}

    def _read(self, name: str) -> bytes:
        data: bytes = self._files.cat_file(self._path(name))
        return data

    def _put(self, name: str, data: bytes) -> None:
        draft = self._path(f"{_KEPT}/draft-{uuid.uuid4().hex}")
        try:
            with self._files.open(draft, "wb") as file:
                file.write(data)
                if self._is_local:
                    file.flush()
                    os.fsync(file.fileno())
            self._files.mv(draft, self._path(name))
        except BaseException:
            with suppress(OSError):
                self._files.rm_file(draft)
            raise

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}".rstrip("/")

    def _refused(self, err: OSError | InvalidInput) -> InvalidInput:
        if isinstance(err, InvalidInput):
            return err
        return InvalidInput(
            f"{self._url} cannot be written ({err}); make room or correct it, and run the same command again",
            param="--output",
        )


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"
