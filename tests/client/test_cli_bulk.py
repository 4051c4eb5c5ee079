"""`guerdon score|compare|rank` on files, against stub services."""

import gzip
import io
import json
import os
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from guerdon.cli.main import main
from tests.client.conftest import Service
from tests.client.stub import Failure, stub_reward

Lines = list[dict[str, Any]]


def write(path: Path, records: list[Any]) -> Path:
    lines = (r if isinstance(r, str) else json.dumps(r) for r in records)
    path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return path


def read(path: Path) -> Lines:
    return [json.loads(line) for line in path.read_text().splitlines()]


def items(count: int) -> list[dict[str, str]]:
    return [{"id": f"id-{i}", "prompt": "p", "response": f"r{i}"} for i in range(count)]


def rewards(count: int) -> list[float]:
    return [stub_reward("p", f"r{i}") for i in range(count)]


def test_score_writes_one_line_per_record_in_order(service: Service, tmp_path: Path) -> None:
    source, out = write(tmp_path / "in.jsonl", items(150)), tmp_path / "out.jsonl"
    assert main(["score", str(source), "--url", service[0], "--output", str(out)]) == 0
    lines = read(out)
    assert [(x["index"], x["id"]) for x in lines] == [(i, f"id-{i}") for i in range(150)]
    assert [x["reward"] for x in lines] == rewards(150)
    assert set(lines[0]) == {
        "index",
        "id",
        "reward",
        "attributes",
        "raw",
        "std",
        "tokens",
        "truncated",
        "cached",
    }
    payloads = [payload for _, payload, _ in service[1].requests]
    assert sorted(len(p["items"]) for p in payloads) == [22, 64, 64]
    assert {p["lane"] for p in payloads} == {"bulk"}


def test_standard_output_and_input(
    rest: Service, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "".join(json.dumps(item) + "\n" for item in items(3))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert main(["score", "-", "--url", rest[0], "--lane", "interactive"]) == 0
    assert [json.loads(line)["reward"] for line in capsys.readouterr().out.splitlines()] == rewards(3)
    assert rest[1].requests[0][1]["lane"] == "interactive"


def test_a_gzipped_file_from_disk_and_from_a_pipe(rest: Service, tmp_path: Path) -> None:
    packed = tmp_path / "in.jsonl.gz"
    packed.write_bytes(gzip.compress(write(tmp_path / "in.jsonl", items(5)).read_bytes()))
    assert main(["score", str(packed), "--url", rest[0], "--output", str(tmp_path / "a")]) == 0
    command = [
        sys.executable,
        "-m",
        "guerdon",
        "score",
        "-",
        "--url",
        rest[0],
        "--output",
        str(tmp_path / "b"),
    ]
    subprocess.run(command, input=packed.read_bytes(), check=True, timeout=60)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert [x["reward"] for x in read(tmp_path / "a")] == rewards(5)


def test_a_named_pipe_is_read_once_and_whole(rest: Service, tmp_path: Path) -> None:
    pipe, out = tmp_path / "pipe", tmp_path / "out"
    os.mkfifo(pipe)
    text = write(tmp_path / "in", items(200)).read_text()
    writer = threading.Thread(target=pipe.write_text, args=(text,))
    writer.start()
    assert main(["score", str(pipe), "--url", rest[0], "--output", str(out)]) == 0
    writer.join()
    assert [x["reward"] for x in read(out)] == rewards(200)


def test_a_terminal_shows_progress(rest: Service, tmp_path: Path) -> None:
    source = write(tmp_path / "in", items(200))
    command = [sys.executable, "-m", "guerdon", "score", str(source), "--url", rest[0]]
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    shown = ""
    with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # EIO is a terminal's end
        while chunk := terminal.read(4096):
            shown += chunk.decode()
    assert "score:" in shown
    assert "200/200" in shown


def test_compare_takes_pairs_and_preference_records(service: Service, tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "p"}]
    chosen, rejected = [{"role": "assistant", "content": "x"}], [{"role": "assistant", "content": "y"}]
    records = [
        {"prompt": "p", "a": "x", "b": "y"},
        {"messages": turns, "a": "x", "b": "y"},
        {"id": 7, "prompt": turns, "chosen": "x", "rejected": "y", "source": "s"},
        {"prompt": turns, "chosen": chosen, "rejected": rejected},
    ]
    out = tmp_path / "out"
    assert (
        main(["compare", str(write(tmp_path / "in", records)), "--url", service[0], "--output", str(out)])
        == 0
    )
    plain, *turned = read(out)
    assert plain["margin"] == stub_reward("p", "x") - stub_reward("p", "y")
    assert [x["margin"] for x in turned] == [stub_reward(turns, "x") - stub_reward(turns, "y")] * 3
    assert set(plain) == {"index", "p_a", "low", "high", "margin", "preferred", "a", "b"}
    assert turned[1]["id"] == 7


def test_rank_writes_candidates_best_first(service: Service, tmp_path: Path) -> None:
    records = [{"prompt": str(i), "candidates": ["a", "b", "c"]} for i in range(9)]
    out = tmp_path / "out"
    assert (
        main(["rank", str(write(tmp_path / "in", records)), "--url", service[0], "--output", str(out)]) == 0
    )
    for i, line in enumerate(read(out)):
        best = sorted(range(3), key=lambda k: -stub_reward(str(i), "abc"[k]))
        assert (line["index"], [r["index"] for r in line["results"]]) == (i, best)


def test_bad_records_become_error_records_and_the_rest_is_scored(service: Service, tmp_path: Path) -> None:
    good = items(70)
    records: list[Any] = [*good[:40], {"id": "e", "prompt": "p", "response": ""}, "not json", *good[40:], [1]]
    records += [{"response": "r"}, {"prompt": "p", "response": 3}, "", {"prompt": "p", "response": "\ud800"}]
    records += ["[" * 100_000]
    out = tmp_path / "out"
    assert (
        main(["score", str(write(tmp_path / "in", records)), "--url", service[0], "--output", str(out)]) == 1
    )
    lines = read(out)
    assert [x["reward"] for x in lines if "reward" in x] == rewards(70)
    errors = {x["index"]: x["error"] for x in lines if "error" in x}
    assert list(errors) == [40, 41, 72, 73, 74, 76, 77]  # 75 is blank
    assert errors[40] == {
        "code": "invalid_input",
        "message": "response is empty; give the text to score",
        "param": "response",
    }
    assert lines[40]["id"] == "e"
    assert errors[74]["message"] == "response is of type int; give a string"
    assert errors[76]["param"] == "response"
    answered = service[1].responses_asked
    assert answered["r69"] == 1, "only the refused half is sent again"


def test_records_as_tables_write_them(rest: Service, tmp_path: Path) -> None:
    """A field without a value is null, a missing id NaN; and Windows begins with a mark and ends lines so."""
    good = '{"id": null, "prompt": "p", "messages": null, "response": "r0"}'
    lines = [good, '{"id": NaN, "prompt": "p", "response": "r"}', "", '{"id": 1e999}', good]
    source, out = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"\xef\xbb\xbf" + "".join(f"{line}\r\n" for line in lines).encode())
    assert main(["score", str(source), "--url", rest[0], "--output", str(out)]) == 1
    told = read(out)
    assert [x["index"] for x in told] == [0, 1, 3, 4]
    assert [x["reward"] for x in told if "reward" in x] == rewards(1) * 2
    assert all("not JSON" in x["error"]["message"] for x in told[1:3])


@pytest.mark.parametrize(
    ("verb", "reason"),
    [
        ("score", "response is missing"),
        ("compare", "a is missing"),
        ("rank", "candidates is missing"),
    ],
)
def test_a_file_of_another_shape_is_told_with_its_first_line_and_why(
    verb: str, reason: str, rest: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", ["", *[{"prompt": "p", "answer": "r"}] * 3])
    out = str(tmp_path / "out")
    for _ in range(2):  # the second goes on with the output of the first, which has them all
        assert main([verb, str(source), "--url", rest[0], "--output", out]) == 1
        told = f"guerdon: 3 of 3 records became error records; the first is line 2: {reason}\n"
        assert capsys.readouterr().err == told


def test_an_error_that_no_record_is_to_blame_for_stops_the_run(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path / "in", items(5))
    assert main(["score", str(source), "--url", service[0], "--profile", "unknown"]) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "guerdon: profile 'unknown' is not defined\n")


def test_one_item_that_breaks_the_back_end_is_isolated(rest: Service, tmp_path: Path) -> None:
    url, stub = rest
    body = json.dumps({"error": {"code": "backend_failed", "message": "the forward failed"}}).encode()
    stub.failures.extend([Failure(500, body=body)] * 3)  # 4 items, then the first 2, then the first
    out = tmp_path / "out"
    assert main(["score", str(write(tmp_path / "in", items(4))), "--url", url, "--output", str(out)]) == 1
    first, *others = read(out)
    assert first["error"] == {"code": "backend_failed", "message": "the forward failed", "param": None}
    assert [x["reward"] for x in others] == rewards(4)[1:]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["score", "absent.jsonl"], "guerdon: absent.jsonl cannot be read: "),
        (["score", "torn.gz"], "guerdon: torn.gz cannot be read: "),
        (["score", "in", "--url", "nowhere"], "guerdon: url 'nowhere' cannot be used; "),
        (["score", "in", "--output", "absent/out"], "guerdon: absent/out cannot be written: "),
        (["score", "in", "--output", "in"], "guerdon: in exists and was not made by this command; "),
    ],
)
def test_failures_are_one_sentence(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in", items(1))
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"x" * 99)[:-6])
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith(message)
    assert told.count("\n") == 1
    assert read(tmp_path / "in") == items(1)


def test_the_key_comes_from_the_environment(
    rest: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GUERDON_URL", rest[0])
    source = str(write(tmp_path / "in", items(1)))
    for given in ("k", "k\n", " "):  # as $(cat FILE) and `docker --env-file` leave it
        monkeypatch.setenv("GUERDON_API_KEY", given)
        assert main(["score", source]) == main(["models", "list"]) == 0
    keys = [headers.get("authorization") for _, _, headers in rest[1].requests]
    assert keys == ["Bearer k"] * 4 + [None] * 2


def test_a_key_that_cannot_be_sent_is_not_shown(
    rest: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GUERDON_API_KEY", "s3cr\u00e9t")
    for argv in (["score", str(write(tmp_path / "in", items(1)))], ["models", "list"]):
        assert main([*argv, "--url", rest[0]]) == 2
        told = capsys.readouterr().err
        assert told.startswith("guerdon: api_key ") and "s3cr" not in told


def test_a_reader_that_leaves_ends_the_run_quietly(rest: Service, tmp_path: Path) -> None:
    source = write(tmp_path / "in", items(2000))
    command = [sys.executable, "-m", "guerdon", "score", str(source), "--url", rest[0]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 2
