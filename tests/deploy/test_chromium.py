"""`make setup` needs no Chromium: where none can be had, it says so and goes on."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci" / "chromium"


@pytest.mark.parametrize(("user", "apt_status"), [("0", 100), ("1000", 0)])
def test_its_absence_is_told_and_stops_nobody(tmp_path: Path, user: str, apt_status: int) -> None:
    for name in ("env", "bash"):
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    for name, script in (("id", f"echo {user}"), ("apt-get", f"exit {apt_status}")):
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    ran = subprocess.run(
        [SCRIPT], env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "")
    assert "There is no Chromium on PATH" in ran.stderr
