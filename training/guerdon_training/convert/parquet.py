"""Parquet, read and written with pyarrow, which is an optional dependency."""

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from guerdon_service.core.errors import InvalidInput


def read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a file, a row group at a time.

    Raises:
        InvalidInput: the file is not Parquet, or pyarrow is not installed.
    """
    pyarrow, parquet = _pyarrow(path)
    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield from batch.to_pylist()
    except pyarrow.ArrowException as err:
        raise InvalidInput(f"{path} is not Parquet ({err}); give the file whole", param="data") from None


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows; a key that is missing from some rows is null there."""
    pyarrow, parquet = _pyarrow(path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    parquet.write_table(pyarrow.table(columns), path)


def _pyarrow(path: Path) -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        message = f"{path} is Parquet, which needs pyarrow; pip install 'guerdon[parquet]'"
        raise InvalidInput(message, param="data") from None
