"""A server under measurement: its own process, with its start-up time and memory."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY = re.compile(r"ready rest=http://[^:]+:(\d+)(?: grpc=[^:]+:(\d+))?")


@dataclass(frozen=True, slots=True)
class Process:
    """A server that listens on `port` of this machine, and on `grpc_port` where it speaks gRPC (else 0)."""

    pid: int
    port: int
    grpc_port: int
    ready_s: float

    def rss_mib(self) -> float:
        """Resident memory now, in MiB (Linux)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def cpu_s(self) -> float:
        """Processor time that all its threads have taken, in seconds (Linux)."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def metrics(self) -> dict[str, float]:
        """Samples of `/metrics` by name and labels, as Prometheus writes them."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        return {k: float(v) for k, v in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


@contextmanager
def running(command: Sequence[str], environ: dict[str, str]) -> Iterator[Process]:
    """Start ``python -m COMMAND``, wait for its ready line, stop it afterwards.

    Raises:
        RuntimeError: it ended before it was ready.
    """
    started = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, **environ},
    )
    try:
        assert child.stdout is not None
        match = next((m for line in child.stdout if (m := READY.search(line))), None)
        if match is None:
            raise RuntimeError(f"{command[0]} ended before it was ready; run it by hand to see why")
        yield Process(child.pid, int(match[1]), int(match[2] or 0), time.perf_counter() - started)
    finally:
        child.terminate()
        child.wait(60)


def service(
    model: str, *, dtype: str = "float32", backend: str = "torch", cache: bool = False
) -> tuple[list[str], dict[str, str]]:
    """Command and environment of ``guerdon serve`` with one model on free ports."""
    command = ["guerdon", "serve", "--port", "0", "--grpc-port", "0", "--model", f"bench={model}"]
    environ = {"GUERDON_DTYPE": dtype, "GUERDON_BACKEND": backend, "GUERDON_LOG_LEVEL": "ERROR"}
    return command, environ if cache else {**environ, "GUERDON_CACHE_BYTES": "0"}
