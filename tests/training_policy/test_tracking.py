"""`--tracker`: what goes to metrics.jsonl goes to an experiment tracker as well."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from guerdon_service.core.errors import InvalidInput
from guerdon_training.cli import train_command
from guerdon_training.ppo.log import write_update
from guerdon_training.tracking import TRACKERS, tracking
from tests.training_policy.runs import prepare_sft
from tests.training_policy.tracked import RUNS

ROOT = Path(__file__).parents[2]
LIBRARIES = Path(sys.prefix) / "trackers"
LOGGED: list[tuple[str, str, int | None, dict[str, Any]]] = []


class Recording:
    """Accelerate's interface of a tracker."""

    requires_logging_directory = True

    def __init__(self, run_name: str, logging_dir: str) -> None:
        self.run_name = run_name
        self.logging_dir = logging_dir

    def start(self) -> None:
        LOGGED.append((self.run_name, "start", None, {"in": self.logging_dir}))

    def log(self, values: dict[str, Any], step: int | None = None) -> None:
        LOGGED.append((self.run_name, "log", step, values))

    def finish(self) -> None:
        LOGGED.append((self.run_name, "finish", None, {}))


@pytest.fixture
def tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracker is one that remembers; the package is there in name."""
    (tmp_path / "site" / "tensorboard").mkdir(parents=True)
    (tmp_path / "site" / "tensorboard" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "tensorboard", Recording)
    LOGGED.clear()


@pytest.mark.usefixtures("tensorboard")
def test_every_line_of_the_log_is_echoed(
    tiny_lm: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = prepare_sft(here, tiny_lm)
    assert train_command(["sft", str(config), "--tracker", "tensorboard", "--set", "optim.epochs=1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("artifact: test loss ")
    lines = [json.loads(x) for x in (here / "artifact" / "metrics.jsonl").read_text("utf-8").splitlines()]
    (first, *logged, last) = LOGGED
    assert first == ("artifact", "start", None, {"in": "runs"})
    assert last == ("artifact", "finish", None, {})
    assert [step for _, _, step, _ in logged] == list(range(1, len(lines) + 1))
    assert [{"epoch": 1, **values} for *_, values in logged] == lines


@pytest.mark.usefixtures("tensorboard")
def test_a_run_that_fails_is_finished_and_each_log_is_a_run(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / ".run").mkdir(parents=True)
    with pytest.raises(KeyError), tracking("tensorboard", tmp_path):
        write_update(tmp_path / "one" / ".run" / "metrics.jsonl", 3, {"score": 0.5})
        write_update(tmp_path / "two" / ".run" / "metrics.jsonl", 1, {"score": 0.25})
        raise KeyError
    assert [(run, what, step) for run, what, step, _ in LOGGED] == [
        ("one", "start", None),
        ("one", "log", 3),
        ("one", "finish", None),
        ("two", "start", None),
        ("two", "log", 1),
        ("two", "finish", None),
    ]
    write_update(tmp_path / "one" / ".run" / "metrics.jsonl", 4, {"score": 0.5})
    assert len(LOGGED) == 6


@pytest.mark.parametrize("name", TRACKERS)
def test_accelerate_knows_it_and_a_missing_package_is_named(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name in LOGGER_TYPE_TO_CLASS
    monkeypatch.setattr("guerdon_training.tracking.find_spec", lambda package: None)
    with pytest.raises(InvalidInput, match=f"--tracker {name} needs the package {name}; pip install {name}"):
        train_command(["sft", "nowhere.yaml", "--tracker", name])


def test_an_unknown_tracker_is_refused() -> None:
    with pytest.raises(InvalidInput, match="--tracker is paper; use one of tensorboard, mlflow"):
        train_command(["sft", "nowhere.yaml", "--tracker", "paper"])


@pytest.fixture(scope="module")
def tracked(tiny_lm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder in which each tracker's own library wrote down two runs; a process of its own has them all."""
    folder = tmp_path_factory.mktemp("tracked")
    assert LIBRARIES.is_dir(), "make setup installs them"
    quiet = {
        "WANDB_MODE": "offline",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TRACKIO_DIR": str(folder / "trackio"),
    }
    paths = {"PYTHONPATH": os.pathsep.join([str(LIBRARIES), str(ROOT)])}
    done = subprocess.run(
        [sys.executable, "-m", "tests.training_policy.tracked", prepare_sft(folder, tiny_lm)],
        cwd=folder,
        env={**os.environ, **quiet, **paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("tracker", TRACKERS)
def test_the_library_holds_every_line_of_every_run(tracked: Path, tracker: str, run: str) -> None:
    steps = json.loads((tracked / f"{tracker}-{run}.json").read_text("utf-8"))
    log = tracked / f"{tracker}-{run}" / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    assert len(lines) > 1
    assert list(steps) == [str(number) for number in range(1, len(lines) + 1)]
    for line, figures in zip(lines, steps.values(), strict=True):
        assert {"epoch": 1, **figures} == pytest.approx(line, rel=1e-6)
