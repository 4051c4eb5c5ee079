"""Servers start in a group of their own, say when they are ready, and leave nothing behind."""

import os
import sys
import time
from pathlib import Path

import pytest

from guerdon_service.core.errors import InvalidInput
from tests.bench_peers import wire
from tests.bench_peers.install import STEPS, Step, install
from tests.bench_peers.processor import watched
from tests.bench_peers.rounds import alone
from tests.bench_peers.server import Server, started

READY = """
import http.server, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


def program(code: str) -> Server:
    def command(peers: Path, port: int) -> list[str]:
        return [sys.executable, "-c", code, str(port)]

    return Server("program", "model", "fp32", wire.NAIVE, frozenset({"W1"}), command, ready_path="/")


def test_a_server_is_waited_for_and_ends_with_its_children(tmp_path: Path) -> None:
    with started(program(READY), tmp_path) as live:
        assert live.wait_ready(60.0) > 0
        child = int((tmp_path / "logs" / "model-program-fp32.log").read_text().split()[0])
        os.kill(child, 0)
    assert live.child.poll() is not None
    give_up_at = time.monotonic() + 60.0  # what was killed ends when the kernel comes to it
    while is_running(child):
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_who_is_halted_stands_still_with_its_children_and_ends_all_the_same(tmp_path: Path) -> None:
    with started(program(READY), tmp_path) as live, started(program(READY), tmp_path / "other") as other:
        for it in (live, other):
            it.wait_ready(60.0)
        child = int((tmp_path / "other" / "logs" / "model-program-fp32.log").read_text().split()[0])
        with alone(live, [live, other]):
            give_up_at = time.monotonic() + 60.0
            while {state(other.child.pid), state(child)} != {"T"}:
                assert time.monotonic() < give_up_at
                time.sleep(0.01)
            assert state(live.child.pid) != "T"
        assert other.wait_ready(60.0) > 0
    assert other.child.poll() is not None


def test_a_server_that_ends_early_is_told_with_its_log(tmp_path: Path) -> None:
    with (
        started(program("raise SystemExit('no model')"), tmp_path) as live,
        pytest.raises(RuntimeError, match=r"program fp32 ended before it was ready; see .*fp32\.log"),
    ):
        live.wait_ready(60.0)
    assert "no model" in live.log.read_text()


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with (
        started(program("import time; time.sleep(600)"), tmp_path) as live,
        pytest.raises(RuntimeError, match="not ready"),
    ):
        live.wait_ready(0.1)


def test_time_of_the_server_and_of_this_process_is_not_foreign() -> None:
    with watched(os.getpid()) as own:
        sum(i * i for i in range(200_000))
    assert 0.0 <= own.cores <= (os.cpu_count() or 1) + 0.5


def test_a_step_that_left_its_proof_is_not_run_again(tmp_path: Path) -> None:
    ran: list[str] = []

    def run(name: str) -> Step:
        def leave(peers: Path) -> None:
            ran.append(name)
            if name != "fails":
                (peers / name).touch()
            else:
                raise InvalidInput("no network", param="peers")

        return Step(name, name, leave)

    with pytest.raises(InvalidInput, match="no network"):
        install(tmp_path / "peers", [run("a"), run("fails"), run("c")])
    install(tmp_path / "peers", [run("a"), run("b"), run("c")])
    assert ran == ["a", "fails", "b", "c"]


def test_each_step_has_a_proof_of_its_own() -> None:
    assert len({step.proof for step in STEPS}) == len(STEPS)


def is_running(pid: int) -> bool:
    """Alive, and not a zombie that waits for its parent."""
    try:
        return state(pid) != "Z"
    except FileNotFoundError:
        return False


def state(pid: int) -> str:
    """As the kernel has it: T is halted, Z has ended and waits for its parent."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
