"""SHA-256 of the files of an artifact; `core.fingerprint.artifact_digest` says which files count."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from guerdon_service.core.errors import InvalidInput

_THREADS = 4
"""Files hashed at once; hashing frees the GIL, and shards are few."""


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file that counts, by path relative to `folder`.

    Raises:
        InvalidInput: a linked folder, whose files the walk would miss.
    """
    paths = list(_walk(folder))
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = pool.map(_sha256, paths)
        return {p.relative_to(folder).as_posix(): d for p, d in zip(paths, digests, strict=True)}


def _walk(folder: Path) -> list[Path]:
    found: list[Path] = []
    for root, dirs, files in os.walk(folder):
        dirs[:] = [d for d in dirs if _counts(d)]
        for name in dirs:
            if Path(root, name).is_symlink():
                raise InvalidInput(
                    f"artifact folder {folder.name} links to a folder, {name!r}; put the folder itself there",
                    param="source",
                )
        found.extend(Path(root, f) for f in files if _counts(f))
    return found


def _counts(name: str) -> bool:
    return not name.startswith(".") and name != "__pycache__"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
