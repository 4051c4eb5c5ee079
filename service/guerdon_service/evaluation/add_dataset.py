"""Records that a caller sends, as a file of the data folder."""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from guerdon_service.core.dataset import Dataset
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.evaluation.shapes import BadRecord, to_item

SUFFIX = ".jsonl"


def add_dataset(folder: Path, name: str, records: Sequence[Mapping[str, Any]]) -> Dataset:
    """Write `records` as the file `name` of `folder`, whole or not at all; the same again changes nothing.

    A file that is there is never written over: evaluations of it would no longer be of what they say.

    Raises:
        InvalidInput: `name` is no plain file name that ends in `SUFFIX` or has other records already, or a
            record is no preference.
        GuerdonError: the folder cannot be written to.
    """
    path = _path(folder, name)
    _check(records, name)
    content = "".join(json.dumps(record) + "\n" for record in records).encode("ascii")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_kept = _create(path, content) or path.read_bytes() == content
    except OSError as err:
        raise GuerdonError(
            f"the service's data folder cannot be written to ({err.strerror}); make room in it, or set "
            "data_folder to one that the service may write to"
        ) from err
    if not is_kept:
        raise InvalidInput(f"name {name!r} is taken by other records; give another", param="name")
    return Dataset(name, hashlib.sha256(content).hexdigest(), len(records))


def _path(folder: Path, name: str) -> Path:
    is_plain = name == Path(name).name and not name.startswith(".") and name.isprintable()
    if not is_plain or not name.endswith(SUFFIX) or len(name.encode()) > 200:
        raise InvalidInput(
            f"name is {name[:80]!a}; give a plain file name of at most 200 bytes that ends in {SUFFIX}",
            param="name",
        )
    return folder / name


def _check(records: Sequence[Mapping[str, Any]], name: str) -> None:
    if not records:
        raise InvalidInput("records is empty; give at least one preference", param="records")
    for i, record in enumerate(records):
        try:
            to_item(dict(record), f"line-{i + 1}", name.removesuffix(SUFFIX))
        except BadRecord as err:
            raise InvalidInput(f"records[{i}] is no preference: {err}", param=f"records[{i}]") from None


def _create(path: Path, content: bytes) -> bool:
    """Write a file that appears with all of its content; False when there is one of that name."""
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=".")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.link(scratch, path)
    except FileExistsError:
        return False
    finally:
        Path(scratch).unlink()
    return True
