"""Who used the processor during a run (Linux): other programs' time makes its wall clock worthless."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(slots=True)
class Foreign:
    """Cores that were busy, on average, with what is neither the server nor this process."""

    cores: float = 0.0


@contextmanager
def watched(server_pid: int) -> Iterator[Foreign]:
    """Fill in the answer when the block ends."""
    found = Foreign()
    started, busy, own = time.perf_counter(), _busy_s(), _own_s(server_pid)
    yield found
    elapsed_s = time.perf_counter() - started
    found.cores = max(0.0, (_busy_s() - busy - _own_s(server_pid) + own) / elapsed_s)


def _busy_s() -> float:
    """Seconds that all cores together have worked, or that a hypervisor took."""
    fields = [int(x) for x in (PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1:9]]
    idle, waiting = fields[3], fields[4]
    return (sum(fields) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def _own_s(server_pid: int) -> float:
    """Seconds of this process and of the server with all its descendants that still live."""
    spent, children = _spent(), _children()
    total, todo = spent.get(os.getpid(), 0), [server_pid]
    while todo:
        pid = todo.pop()
        total += spent.get(pid, 0)
        todo += children.get(pid, [])
    return total / os.sysconf("SC_CLK_TCK")


def _spent() -> dict[int, int]:
    return {pid: int(f[11]) + int(f[12]) for pid, f in _stats()}


def _children() -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for pid, fields in _stats():
        found.setdefault(int(fields[1]), []).append(pid)
    return found


def _stats() -> Iterator[tuple[int, list[str]]]:
    """Process id, and the fields of ``stat`` after the name (state, parent, ...)."""
    for folder in PROC.iterdir():
        if folder.name.isdigit():
            try:
                text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
            except OSError:  # it has ended
                continue
            yield int(folder.name), text.rsplit(")", 1)[1].split()
