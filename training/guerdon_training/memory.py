"""Whether what the frozen layers leave fits into memory; who takes too much is killed without a word."""

from collections.abc import Sequence
from math import inf
from pathlib import Path

import torch

from guerdon_service.core.errors import InvalidInput
from guerdon_training.rows import Rows

MEMINFO, GROUP_LIMIT = Path("/proc/meminfo"), Path("/sys/fs/cgroup/memory.max")


def check_memory(splits: Sequence[Rows], width: int, dtype: torch.dtype) -> None:
    """Refuse rows whose kept states would not fit.

    Args:
        splits: all rows that are kept. width: of a token's state. dtype: it is kept in.

    Raises:
        InvalidInput: they need more than is available.
    """
    num_tokens = sum(len(t.input_ids) for rows in splits for t in rows.tokens)
    needed, available = num_tokens * width * dtype.itemsize, available_bytes()
    if needed > available:
        raise InvalidInput(
            f"what the frozen layers make of {num_tokens:,} tokens would take {needed / 2**30:.1f} GiB, and "
            f"{available / 2**30:.1f} are free; give fewer pairs, or leave lora.layers empty and set "
            "optim.l2, which keeps one vector a response",
            param="data.train",
        )


def available_bytes() -> float:
    """Memory that a process may still take, by Linux and its control group; endless where neither tells."""
    told = _words(MEMINFO)
    free = float(told[told.index("MemAvailable:") + 1]) * 1024 if "MemAvailable:" in told else inf
    limit = _words(GROUP_LIMIT)
    return min(free, float(limit[0])) if limit and limit[0].isdigit() else free


def _words(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").split()
    except OSError:
        return []
