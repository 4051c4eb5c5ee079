"""Figures of a run in an experiment tracker, as an echo of its ``metrics.jsonl``.

Which tracker is no part of a config: it changes no weight, so no checkpoint and no digest depends on it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from guerdon_service.core.errors import InvalidInput

TRACKERS = ("tensorboard", "mlflow", "wandb", "trackio")
"""Those of Accelerate that are asked for; each is also the name of the package that it needs."""


@dataclass(frozen=True, slots=True)
class _Tracker:
    """One run for each log, open until the next log's begins.

    Never two at once: MLflow refuses the second, and W&B takes its figures for those of the first.
    """

    name: str
    folder: Path
    open_runs: dict[str, Any] = field(default_factory=dict)

    def run(self, title: str) -> Any:
        if title not in self.open_runs:
            from accelerate.tracking import LOGGER_TYPE_TO_CLASS  # only here: it looks for every tracker

            self.finish()
            kind = LOGGER_TYPE_TO_CLASS[self.name]
            where = {"logging_dir": str(self.folder)} if kind.requires_logging_directory else {}
            run = kind(title, **where)
            run.start()
            self.open_runs[title] = run
        return self.open_runs[title]

    def finish(self) -> None:
        while self.open_runs:
            self.open_runs.popitem()[1].finish()


_ACTIVE: ContextVar[_Tracker | None] = ContextVar("tracker", default=None)


@contextmanager
def tracking(name: str, folder: Path) -> Iterator[None]:
    """Within it, whatever is logged goes to the tracker `name` too; "" is none.

    Args:
        folder: for trackers that write files.

    Raises:
        InvalidInput: an unknown tracker, or one whose package is not installed.
    """
    if not name:
        yield
        return
    if name not in TRACKERS:
        raise InvalidInput(f"--tracker is {name}; use one of {', '.join(TRACKERS)}", param="tracker")
    if find_spec(name) is None:
        raise InvalidInput(f"--tracker {name} needs the package {name}; pip install {name}", param="tracker")
    active = _Tracker(name, folder)
    token = _ACTIVE.set(active)
    try:
        yield
    finally:
        _ACTIVE.reset(token)
        active.finish()


def echo(log: Path, figures: Mapping[str, float], step: int) -> None:
    """Send one line of `log` to the active tracker, if there is one.

    Args:
        log: below the artifact's folder, whose name is the run's, in what is hidden there.
    """
    active = _ACTIVE.get()
    if active is not None:
        artifact = next(p for p in log.parents if not any(part.startswith(".") for part in p.parts))
        active.run(artifact.name).log(dict(figures), step=step)
