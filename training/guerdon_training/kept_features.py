"""Features of a frozen trunk that were computed before, by the trunk and the tokens they are of."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.whole_file import whole_file
from guerdon_training.encode import PairTokens


def kept_features(
    path: Path, rows: Sequence[PairTokens], compute: Callable[[list[PairTokens]], Tensor]
) -> Tensor:
    """What `compute` gives for different rows, float32 [R, D]; it is asked for those alone that `path` lacks.

    Args:
        path: safetensors file of one trunk, made where it is missing; 4 D + 32 bytes a row.

    Raises:
        InvalidInput: `path` cannot be read.
    """
    known = _read(path)
    keys = [_key(row) for row in rows]
    missing = [row for row, key in zip(rows, keys, strict=True) if key not in known]
    if missing:
        new = dict(zip(map(_key, missing), compute(missing), strict=True))
        known |= new
        _add(path, new)
    return torch.stack([known[key] for key in keys])


def _key(row: PairTokens) -> bytes:
    return hashlib.sha256(np.array([row.prefix_len, *row.input_ids], np.int64).tobytes()).digest()


def _read(path: Path) -> dict[bytes, Tensor]:
    if not path.is_file():
        return {}
    try:
        tensors = load_file(path)
        keys, features = tensors["keys"], tensors["features"]
    except (SafetensorError, OSError, KeyError, ValueError) as err:
        raise InvalidInput(f"{path} holds no features ({err}); remove it", param="features") from None
    return dict(zip((key.numpy().tobytes() for key in keys), features, strict=True))


def _add(path: Path, new: dict[bytes, Tensor]) -> None:
    """Other processes may add at the same time: one after another, each to what it finds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read(path) | new
        keys = torch.tensor([list(key) for key in known], dtype=torch.uint8)
        with whole_file(path) as draft:
            save_file({"keys": keys, "features": torch.stack(list(known.values()))}, draft)
    finally:
        os.close(lock)  # gives the lock back
