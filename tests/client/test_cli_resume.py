"""A bulk run that is killed goes on without losing an item or scoring one twice."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guerdon.cli.main import main
from tests.client.conftest import Service
from tests.client.stub import Failure, Stub, rest_stub
from tests.client.test_cli_bulk import items, read, rewards, write

COUNT = 640  # ten batches
GATE = 6  # the request that waits: it is sent after two batches have been written


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", items(COUNT))


def command(source: Path, url: str, out: Path) -> list[str]:
    return [sys.executable, "-m", "guerdon", "score", str(source), "--url", url, "--output", str(out)]


@contextmanager
def stopped_midway(stub: Stub, argv: list[str], stop: int) -> Iterator[subprocess.CompletedProcess[bytes]]:
    """Start the command, stop it with a signal while a request is in flight."""
    reached, release = threading.Event(), threading.Event()

    def gate(number: int) -> None:
        if number >= GATE:
            reached.set()
            release.wait(60)

    stub.before = gate
    process = subprocess.Popen(argv, stderr=subprocess.PIPE)
    try:
        assert reached.wait(60)
        process.send_signal(stop)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
        release.set()
        stub.before = lambda number: None
    yield subprocess.CompletedProcess(argv, process.returncode, stderr=told)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_a_stopped_run_continues(
    service: Service, source: Path, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, stub = service
    out = tmp_path / "out.jsonl"
    with stopped_midway(stub, command(source, url, out), stop) as stopped:
        assert stopped.returncode == (130 if stop == signal.SIGINT else -stop)
        if stop == signal.SIGINT:
            assert stopped.stderr == (
                b"guerdon: interrupted; no file is half-written; run it again to go on\n"
            )
    whole = [line for line in out.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    finished = [json.loads(line)["index"] for line in whole]  # SIGKILL may tear the last one
    assert 2 * 64 <= len(finished) < COUNT, "killed in the middle, with results on disk"
    monkeypatch.setenv("GUERDON_API_KEY", "again")  # a request of the dead run may still arrive
    assert main(command(source, url, out)[3:]) == 0
    stub.requests[:] = [r for r in stub.requests if r[2].get("authorization") == "Bearer again"]
    lines = read(out)
    assert [x["index"] for x in lines] == list(range(COUNT)), "every item once"
    assert [x["reward"] for x in lines] == rewards(COUNT)
    again = stub.responses_asked
    assert not {f"r{i}" for i in finished} & set(again), "what was finished is not sent again"
    assert set(again.values()) == {1}


def test_a_finished_run_sends_nothing_more(rest: Service, source: Path, tmp_path: Path) -> None:
    url, stub = rest
    out = tmp_path / "out"
    assert main(command(source, url, out)[3:]) == 0
    before, sent = out.read_bytes(), len(stub.requests)
    assert main(command(source, url, out)[3:]) == 0
    assert (out.read_bytes(), len(stub.requests)) == (before, sent)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, bytes, Callable[[], int]]]:
    """A finished run over 9 records, one of them bad: its output, those bytes, and how to run again."""
    folder = tmp_path_factory.mktemp("whole")
    source = write(folder / "in", [*items(5), "bad", *items(3)])
    with rest_stub() as (url, _):
        out = folder / "out"
        run = lambda: main(command(source, url, out)[3:])  # noqa: E731
        assert run() == 1
        yield out, out.read_bytes(), run


@given(cut=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_torn_at_any_byte_is_completed_to_the_same_bytes(
    whole: tuple[Path, bytes, Callable[[], int]], cut: int
) -> None:
    out, expected, run = whole
    out.write_bytes(expected[: cut % (len(expected) + 1)])
    status = run()
    assert out.read_bytes() == expected
    assert status == 1  # whichever run met the bad record


def test_a_torn_line_that_a_power_cut_filled_with_zeros_is_dropped(
    whole: tuple[Path, bytes, Callable[[], int]],
) -> None:
    out, expected, run = whole
    first = expected.index(b"\n") + 1
    out.write_bytes(expected[:first] + b"\0" * 500)
    run()
    assert out.read_bytes() == expected


def refusal(capsys: pytest.CaptureFixture[str], argv: list[str]) -> str:
    assert main(argv[3:]) == 2
    return capsys.readouterr().err


def test_a_changed_input_is_refused(
    rest: Service, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = command(source, rest[0], out)
    assert main(run[3:]) == 0
    before = out.read_bytes()
    write(source, [*items(COUNT - 1), {"prompt": "p", "response": "other"}])
    assert "holds results of another input" in refusal(capsys, run)
    assert out.read_bytes() == before


def test_an_input_that_changes_meanwhile_is_told(
    rest: Service, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def grow(number: int) -> None:
        if number == 1:
            with source.open("a") as file:
                file.write('{"prompt": "p", "response": "late"}\n')

    url, stub = rest
    stub.before = grow
    assert "changed while it was read" in refusal(capsys, command(source, url, tmp_path / "out"))


def test_an_output_that_was_emptied_is_begun_again(rest: Service, tmp_path: Path) -> None:
    source, out = write(tmp_path / "in", items(3)), tmp_path / "out"
    assert main(command(source, rest[0], out)[3:]) == 0
    out.unlink()
    write(source, items(4))
    assert main(command(source, rest[0], out)[3:]) == 0
    assert [x["reward"] for x in read(out)] == rewards(4)


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"scored_by": 3}', '{"scored_by": {"name": "m"}}'])
def test_a_file_beside_it_that_cannot_be_read_is_told(
    rest: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    out = tmp_path / "out"
    run = command(write(tmp_path / "in", items(3)), rest[0], out)
    assert main(run[3:]) == 0
    (tmp_path / "out.run.json").write_text(damage)
    assert "out.run.json beside it cannot be read" in refusal(capsys, run)
    assert [x["reward"] for x in read(out)] == rewards(3)


@pytest.mark.parametrize("changed", ["--model", "--profile"])
def test_other_options_are_refused(
    rest: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: str
) -> None:
    run = command(write(tmp_path / "in", items(3)), rest[0], tmp_path / "out")
    assert main(run[3:]) == 0
    assert f"another {changed[2:]}" in refusal(capsys, [*run, changed, "x"])


def test_another_model_behind_the_same_name_is_refused(
    rest: Service, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rewards of two models in one file could not be compared, and nobody would see it."""
    out = tmp_path / "out"
    run = command(source, rest[0], out)
    assert main(run[3:]) == 0
    kept = out.read_bytes().splitlines(keepends=True)[:100]
    out.write_bytes(b"".join(kept))
    sidecar = tmp_path / "out.run.json"
    told = json.loads(sidecar.read_text())
    assert (told["verb"], told["scored_by"]["digest"]) == ("score", "0" * 64)
    told["scored_by"]["digest"] = "1" * 64
    sidecar.write_text(json.dumps(told))
    assert "000000000000" in refusal(capsys, run)
    assert out.read_bytes() == b"".join(kept)


def test_a_file_with_lines_that_are_no_results_is_refused(
    rest: Service, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run = command(source, rest[0], out)
    assert main(run[3:]) == 0
    out.write_bytes(b'{"something": "else"}\n' + out.read_bytes())
    assert "holds a line that is no result" in refusal(capsys, run)


def test_two_runs_cannot_write_one_file(
    rest: Service, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, stub = rest
    out = tmp_path / "out"
    run = command(source, url, out)
    reached, release = threading.Event(), threading.Event()

    def hold(number: int) -> None:
        reached.set()
        release.wait(60)

    stub.before = hold
    with subprocess.Popen(run) as first:
        try:
            assert reached.wait(60)
            assert "is being written by another run" in refusal(capsys, run)
        finally:
            release.set()
        assert first.wait(60) == 0
    assert [x["index"] for x in read(out)] == list(range(COUNT))


def test_a_service_that_fails_midway_leaves_a_file_to_continue(
    rest: Service, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, stub = rest
    out = tmp_path / "out"
    body = json.dumps({"error": {"code": "unauthenticated", "message": "the key expired"}}).encode()

    def revoke(number: int) -> None:
        if number == GATE:
            stub.failures.extend([Failure(401, body=body)] * 100)

    stub.before = revoke
    assert "the key expired" in refusal(capsys, command(source, url, out))
    assert 2 * 64 <= len(read(out)) < COUNT
    stub.failures.clear()
    stub.before = lambda number: None
    assert main(command(source, url, out)[3:]) == 0
    assert [x["reward"] for x in read(out)] == rewards(COUNT)


DOWN = json.dumps({"error": {"code": "backend_failed", "message": "out of memory"}}).encode()


def test_a_back_end_that_is_down_blames_no_record(
    rest: Service, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url, stub = rest
    out = tmp_path / "out"

    def fall(number: int) -> None:
        if number == GATE:
            stub.failures.extend([Failure(500, body=DOWN)] * 1000)

    stub.before = fall
    told = refusal(capsys, command(source, url, out))
    assert "none is to blame" in told and "out of memory" in told
    assert 2 * 64 <= len(read(out)) < COUNT
    assert not [record for record in read(out) if "error" in record]
    stub.failures.clear()
    stub.before = lambda number: None
    assert main(command(source, url, out)[3:]) == 0
    assert [x["index"] for x in read(out)] == list(range(COUNT))
    assert [x["reward"] for x in read(out)] == rewards(COUNT)


def test_the_last_few_records_that_always_fail_are_told_as_errors_in_every_run(
    rest: Service, tmp_path: Path
) -> None:
    url, stub = rest
    records, out = [{"prompt": "p", "response": str(i)} for i in range(3)], tmp_path / "out"
    source = write(tmp_path / "in", records)
    stub.failures.extend([Failure(500, body=DOWN)] * 1000)
    for _ in range(2):
        assert main(["score", str(source), "--url", url, "--output", str(out)]) == 1
        assert ["error" in record for record in read(out)] == [True] * 3


def ranking(tmp_path: Path, count: int) -> Path:
    return write(tmp_path / "in", [{"prompt": str(i), "candidates": ["a", "b"]} for i in range(count)])


def test_records_at_the_end_on_which_the_back_end_failed_are_asked_again(
    rest: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of records that are sent alone nobody can tell whose fault it was."""
    url, stub = rest
    monkeypatch.setattr("guerdon.cli.bulk.CONCURRENCY", 1)
    source, out = ranking(tmp_path, 6), tmp_path / "out"
    run = ["rank", str(source), "--url", url, "--output", str(out)]

    def fail(number: int) -> None:
        if number in (1, 4, 5):  # it is told of one request later
            stub.failures.append(Failure(500, body=DOWN))

    stub.before = fail
    assert main(run) == 1
    assert [record["index"] for record in read(out) if "error" in record] == [1, 4, 5]
    before = out.read_bytes().splitlines()
    stub.requests.clear()
    stub.before = lambda number: None
    assert main(run) == 1, "record 1 failed between others that did not"
    assert [payload["prompt"] for _, payload, _ in stub.requests] == ["4", "5"]
    after = out.read_bytes().splitlines()
    assert after[:4] == before[:4]
    assert [json.loads(line)["index"] for line in after] == list(range(6))
    assert [i for i, line in enumerate(after) if b"error" in line] == [1]
