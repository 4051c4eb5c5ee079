"""A service in a subprocess, for as long as a block runs."""

import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from guerdon.errors import GuerdonError

READY = re.compile(r"^guerdon ready rest=(http://\S+) grpc=(\S+)$", re.MULTILINE)
"""The line that ``guerdon serve`` prints once it answers."""
STOP_S = 20.0
LOG_TAIL = 30


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the service listens, as client URLs."""

    rest: str
    grpc: str


@contextmanager
def running_service(command: Sequence[str], ready_s: float) -> Iterator[Addresses]:
    """Start `command`, wait for its ready line, and stop it afterwards, whatever happens.

    Raises:
        GuerdonError: it ended, or was not ready within `ready_s` seconds. This and any other error that
            leaves the block carries the end of the service's log as a note.
    """
    with TemporaryDirectory(prefix="guerdon-") as folder:
        log = Path(folder) / "service.log"
        with log.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 - the caller's own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
            )
        try:
            yield _wait_ready(process, log, ready_s)
        except BaseException as err:
            err.add_note(_tail(log))
            raise
        finally:
            _stop(process)


def _wait_ready(process: subprocess.Popen[bytes], log: Path, ready_s: float) -> Addresses:
    give_up = time.monotonic() + ready_s
    while time.monotonic() < give_up:
        ended = process.poll()  # asked before the log is read, so that its last line is seen
        if found := READY.search(log.read_text("utf-8", "replace")):
            return Addresses(found[1], f"grpc://{found[2]}")
        if ended is not None:
            raise GuerdonError(f"the service ended with status {ended} before it was ready")
        time.sleep(0.05)
    raise GuerdonError(f"the service was not ready within {ready_s:g} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _tail(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-LOG_TAIL:]
    return "\n".join(["the service's log ends:", *lines])
