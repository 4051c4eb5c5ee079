"""Whether what the frozen layers leave fits into memory; who takes too much is killed without a word."""

import os
from collections.abc import Sequence
from math import inf
from pathlib import Path

from transformers import AutoConfig

from guerdon_service.core.errors import InvalidInput
from guerdon_training.rows import Rows
from guerdon_training.trunk import KEPT_IN

MEMINFO, GROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def check_memory(splits: Sequence[Rows], base: Path) -> None:
    """Refuse rows whose kept states would not fit, in as many processes as run on this machine.

    To be asked before the first run: those after it take what it gave back, which the system counts as taken.

    Args:
        splits: all rows that are kept. base: folder of the model whose layers are frozen.

    Raises:
        InvalidInput: they need more than is available.
    """
    num_tokens = sum(len(t.input_ids) for rows in splits for t in rows.tokens)
    num_processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    width = AutoConfig.from_pretrained(base).hidden_size
    needed, available = num_tokens * width * KEPT_IN.itemsize * num_processes, available_bytes()
    if needed > available:
        everywhere = f" in {num_processes} processes" if num_processes > 1 else ""
        raise InvalidInput(
            f"what the frozen layers make of {num_tokens:,} tokens would take {needed / 2**30:.1f} GiB"
            f"{everywhere}, and {available / 2**30:.1f} are free; give fewer pairs, or leave lora.layers "
            "empty and set optim.l2, which keeps one vector a response",
            param="data.train",
        )


def available_bytes() -> float:
    """Memory that may still be taken, by Linux and the control group; endless where neither tells."""
    free = _number(MEMINFO, "MemAvailable:")
    free = inf if free is None else free * 1024
    limit = _number(GROUP / "memory.max")
    if limit is None:
        return free
    given_up = _number(GROUP / "memory.stat", "inactive_file") or 0.0  # pages of files, when others need them
    return min(free, limit - (_number(GROUP / "memory.current") or 0.0) + given_up)


def _number(path: Path, name: str = "") -> float | None:
    """The number after `name`, or the first; None where the file, or it, is not there."""
    try:
        words = ["", *path.read_text("utf-8").split()]
    except OSError:
        return None
    told = words[words.index(name) + 1] if name in words[:-1] else ""
    return float(told) if told.isdigit() else None
