"""The service's side of one engine process."""

import os
import signal
import socket
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from guerdon_service.backends.process.wire import Head, pack_batch, receive, send, unpack_scores
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import ForwardStats, ProcessDied

END_S = 5.0
"""How long a process whose socket is closed may take to end before it is killed."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start an engine process.

    command: runs `serve.serve_stdin`.
    order: what it is to load, as JSON.
    device: what whoever is on call knows it by.
    environ: variables beside this process's own.
    """

    command: Sequence[str]
    order: Mapping[str, Any]
    device: str = "cpu"
    environ: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the back end in a process is, by the properties of `core.ports.Backend` and `arithmetic_of`."""

    name: str
    dtype: str
    num_heads: int
    shares_prefix: bool
    arithmetic: str


class EngineProcess:
    """One process, running from the moment of construction. One thread at a time may ask it."""

    def __init__(self, launch: Launch) -> None:
        self.device = launch.device
        self.num_forwards = 0
        self._sock, theirs = socket.socketpair()
        with theirs:
            self._popen: subprocess.Popen[bytes] = subprocess.Popen(  # noqa: S603 - our own module, or a test's
                launch.command,
                stdin=theirs.fileno(),
                stdout=2,  # what a library prints is no line of the service's own
                env={**os.environ, **launch.environ},
            )
        self._order = launch.order
        self._asking = threading.Lock()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def greet(self, timeout_s: float) -> Greeting:
        """Have the back end loaded; ask once, and first.

        Raises:
            InvalidInput: the order is refused.
            ProcessDied: it ended, or took longer than `timeout_s`.
            RuntimeError: loading failed; the message is the process's traceback.
        """
        head, _ = self._ask(self._order, b"", timeout_s)
        if "refused" in head:
            raise InvalidInput(head["refused"], param=head["param"])
        return Greeting(**head)

    def forward(self, batch: Sequence[Encoded], timeout_s: float) -> tuple[NDArray[np.float32], ForwardStats]:
        """As `Backend.forward`.

        Raises:
            ProcessDied: it ended, or took longer than `timeout_s`.
            RuntimeError: the back end raised; the message is the process's traceback.
        """
        head, body = self._ask(*pack_batch(batch), timeout_s)
        try:
            scored = unpack_scores(head, body), ForwardStats(head["num_tokens"], head["num_computed"])
        except (KeyError, TypeError, ValueError) as err:
            raise self._dead(err) from err
        self.num_forwards += 1
        return scored

    def wait(self) -> str:
        """Return once it has ended, however, with how."""
        status = self._popen.wait()
        return f"signal {-status} ({signal.strsignal(-status)})" if status < 0 else f"status {status}"

    def kill(self) -> None:
        """End it at once; no error if it has ended."""
        self._popen.kill()

    def close(self) -> None:
        """End it, whatever it is at, and return once it has ended."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)  # wakes whoever reads from it, too
        try:
            self._popen.wait(END_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        with self._asking:  # whoever reads must not read from the number's next owner
            self._sock.close()

    def _ask(self, head: Mapping[str, Any], body: bytes, timeout_s: float) -> tuple[Head, bytes]:
        try:
            with self._asking:
                self._sock.settimeout(timeout_s)
                send(self._sock, head, body)
                reply, scores = receive(self._sock)
        except (OSError, EOFError, ValueError) as err:
            raise self._dead(err) from err
        if "failed" in reply:
            raise RuntimeError(reply["failed"])
        return reply, scores

    def _dead(self, err: Exception) -> ProcessDied:
        self.kill()  # whatever it is at, its answer would come to the next question
        return ProcessDied(f"the engine process on {self.device} died: {err!r}")
