"""A server of the comparison: how it is started, when it is ready, how it is stopped."""

import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench_peers.wire import Wire
from tests.ports import free_port

READY_TIMEOUT_S = 900.0


@dataclass(frozen=True, slots=True)
class Server:
    """One server of one model.

    precision: fp32, bf16 or int8.
    command: its argument list, from the peers' folder and a port.
    environ: variables beside this process's own, from the peers' folder.
    rows: the rows of the table that it takes part in.
    has_prefix_cache: computes a shared prompt once.
    """

    name: str
    model: str
    precision: str
    wire: Wire
    rows: frozenset[str]
    command: Callable[[Path, int], list[str]]
    environ: Callable[[Path], Mapping[str, str]] = lambda _: {}
    ready_path: str = "/health"
    is_ours: bool = False
    has_prefix_cache: bool = False

    @property
    def label(self) -> str:
        """Name and precision, as the table prints it."""
        return f"{self.name} {self.precision}"


@dataclass(slots=True)
class Live:
    """A server that was started."""

    server: Server
    port: int
    child: "subprocess.Popen[bytes]"
    log: Path
    started_at: float = field(default_factory=time.monotonic)

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> float:
        """Seconds from start to the first 200.

        Raises:
            RuntimeError: it ended, or took too long; the message names its log.
        """
        url = f"http://127.0.0.1:{self.port}{self.server.ready_path}"
        while not _is_ok(url):
            if self.child.poll() is not None:
                raise RuntimeError(f"{self.server.label} ended before it was ready; see {self.log}")
            if time.monotonic() > self.started_at + timeout_s:
                raise RuntimeError(
                    f"{self.server.label} was not ready after {timeout_s:.0f} s; see {self.log}"
                )
            time.sleep(0.2)
        return time.monotonic() - self.started_at

    @contextmanager
    def halted(self) -> Iterator[None]:
        """All its processes stand still: an idle server polls, which takes time from the others."""
        _signal_group(self.child.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal_group(self.child.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it and all its processes."""
        for how, patience_s in ((signal.SIGTERM, 15.0), (signal.SIGKILL, 15.0)):
            if not _signal_group(self.child.pid, how):
                break
            try:
                self.child.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        self.child.wait()


@contextmanager
def started(server: Server, peers: Path) -> Iterator[Live]:
    """The server in a process group of its own; its output goes to ``logs/`` of the peers' folder."""
    log = peers / "logs" / f"{server.model}-{server.label.replace(' ', '-')}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    port = free_port()
    with log.open("wb") as output:
        child = subprocess.Popen(
            server.command(peers, port),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", **server.environ(peers)},
            start_new_session=True,
        )
    live = Live(server, port, child, log)
    try:
        yield live
    finally:
        live.stop()


def _is_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _signal_group(pid: int, how: signal.Signals) -> bool:
    try:
        os.killpg(pid, how)
    except ProcessLookupError:
        return False
    return True
