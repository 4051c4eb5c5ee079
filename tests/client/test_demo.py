"""`guerdon demo` against a service that is a subprocess, as the real one is."""

import re
import sys
from pathlib import Path

import pytest

from guerdon.cli.demo import run_demo
from tests.tiny import build_tiny

SERVE = """
import signal, sys
from tests.client.stub import grpc_stub, rest_stub
with rest_stub() as (rest, one), grpc_stub() as (grpc, two):
    {spoil}
    print("loading ...")
    print("pid", __import__("os").getpid(), file=open({pid!r}, "w"))
    print(f"guerdon ready rest={{rest}} grpc={{grpc[7:]}}")
    signal.sigwait([signal.SIGTERM])
"""


def serve(tmp_path: Path, spoil: str = "pass") -> list[str]:
    return [sys.executable, "-c", SERVE.format(spoil=spoil, pid=str(tmp_path / "pid"))]


def is_running(tmp_path: Path) -> bool:
    pid = int((tmp_path / "pid").read_text().split()[1])
    return Path(f"/proc/{pid}").exists()


def test_demo_shows_every_verb_over_both_wires_and_stops_the_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_demo(serve(tmp_path), None) == 0
    told = capsys.readouterr().out
    for verb in ("score", "compare", "rank"):
        for over in ("REST", "gRPC"):
            assert re.search(rf"^{verb} +{over} ", told, re.MULTILINE)
    assert "REST and gRPC answers are equal, bit for bit (0 of 12 gRPC scores" in told
    assert "model mock 1, digest 000000000000" in told
    assert not is_running(tmp_path)


def test_demo_on_the_real_service_with_a_tiny_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"tiny={build_tiny('bert', tmp_path / 'bert')}"
    argv = [sys.executable, "-m", "guerdon", "serve", "--port", "0", "--grpc-port", "0", "--model", model]
    assert run_demo(argv, None) == 0
    told = capsys.readouterr().out
    assert "model tiny " in told
    assert "REST and gRPC answers are equal, bit for bit (12 of 12 gRPC scores came from the cache)" in told


def test_demo_fails_when_the_wires_disagree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spoil = "import guerdon; two._answer = guerdon.reward_handler(lambda p, r: 0.5)"
    assert run_demo(serve(tmp_path, spoil), None) == 2
    assert "REST and gRPC answers differ" in capsys.readouterr().err
    assert not is_running(tmp_path)


def test_demo_shows_the_log_of_a_service_that_cannot_start(capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "import sys; print('no weights found', file=sys.stderr); sys.exit(3)"]
    assert run_demo(command, None) == 2
    told = capsys.readouterr().err
    assert "guerdon: the service ended with status 3 before it was ready" in told
    assert "no weights found" in told


def test_demo_stops_the_service_and_shows_its_log_when_a_call_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil = "from tests.client.stub import Failure; one.failures.append(Failure(500, body=b'{}'))"
    assert run_demo(serve(tmp_path, spoil), None) == 2
    told = capsys.readouterr().err
    assert "HTTP 500" in told
    assert "loading ..." in told
    assert not is_running(tmp_path)
