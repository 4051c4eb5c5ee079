"""What ``guerdon bench`` writes, and when."""

import json
from pathlib import Path

import pytest

from guerdon_service.app.bench import command
from guerdon_service.app.bench.figure import Figure, plain


def test_a_row_that_fails_takes_no_other_rows_figures_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> list[Figure]:
        raise RuntimeError("1 of 1 requests failed")

    rows = {"start": lambda _: [plain("ready after", [1.0, 3.0, 2.0], "s")], "growth": fail}
    monkeypatch.setattr(command, "_ROWS", rows)
    with pytest.raises(RuntimeError):
        command.bench_command(["--rows", "start", "growth", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "bench.json").read_text())
    assert [(f["name"], f["value"]) for f in report["figures"]] == [("ready after", 2.0)]
    assert (tmp_path / "bench.png").is_file()


def test_rows_with_commas_between_them_are_refused_with_how_to_write_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        command.bench_command(["--rows", "limit,overhead"])
    assert (
        "'limit,overhead' is no row; write rows with spaces between them, of fp32" in capsys.readouterr().err
    )
