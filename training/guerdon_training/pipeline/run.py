"""Runs stages in order; skips those that are done, refuses those whose inputs changed since."""

import json
import resource
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from guerdon_service.core.errors import InvalidInput
from guerdon_training.data import file_sha256
from guerdon_training.pipeline.stamp import Stamp, changes, read_stamp, write_stamp


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the pipeline.

    config: dataclass with all that its outcome depends on beside `inputs`.
    inputs: files it reads. outputs: files that it leaves in `folder` when it is done.
    run: does the work; may be interrupted and called again.
    """

    name: str
    folder: Path
    config: Any
    inputs: tuple[Path, ...]
    outputs: tuple[Path, ...]
    run: Callable[[], None]


def check_files(stages: Sequence[Stage]) -> None:
    """Refuse stages that would read a file which is not there and which none of them makes.

    Raises:
        InvalidInput: the first such file is named.
    """
    made = {path for stage in stages for path in stage.outputs}
    for stage in stages:
        for path in stage.inputs:
            if path not in made and not path.is_file():
                raise InvalidInput(
                    f"stage {stage.name} reads {path}, which does not exist; correct the path",
                    param=stage.name,
                )


def run_stages(stages: Sequence[Stage], say: Callable[[str], None] = lambda line: None) -> list[str]:
    """Run what is not done yet.

    Returns:
        Names of the stages that ran.

    Raises:
        InvalidInput: a finished stage was made from other inputs.
        GuerdonError: a stage failed; the ones before it are kept, and its own checkpoint is.
    """
    ran = []
    for number, stage in enumerate(stages, start=1):
        title = f"[{number}/{len(stages)}] {stage.name}"
        if is_done(stage, stages[number:]):
            say(f"{title}: done before, skipped")
            continue
        say(f"{title}: {stage.folder}")
        started = time.monotonic()
        stage.folder.mkdir(parents=True, exist_ok=True)
        stage.run()
        seconds = round(time.monotonic() - started, 1)
        write_stamp(stage.folder, replace(_stamp(stage), seconds=seconds, peak_rss_mib=_peak_rss_mib()))
        say(f"{title}: {seconds:.0f} s")
        ran.append(stage.name)
    return ran


def is_done(stage: Stage, later: Sequence[Stage]) -> bool:
    """Whether its stamp says that it finished with the config and the files of now.

    Raises:
        InvalidInput: it finished with others.
    """
    before = read_stamp(stage.folder)
    if before is None:
        return False
    found = changes(before, _stamp(stage))
    if found:
        folders = " ".join(str(s.folder) for s in (stage, *later) if s.folder.exists())
        raise InvalidInput(
            f"stage {stage.name} was finished with other settings: {'; '.join(found[:3])}. Undo that, give "
            f"another output, or remove what depends on it: {folders}",
            param=stage.name,
        )
    return True


def _stamp(stage: Stage) -> Stamp:
    """What the stage is made from, and what it has left so far."""
    return Stamp(
        config=json.loads(json.dumps(asdict(stage.config))),
        inputs={p.as_posix(): file_sha256(p) for p in stage.inputs},
        outputs={p.as_posix(): file_sha256(p) for p in stage.outputs if p.is_file()},
    )


def _peak_rss_mib() -> int:
    """Highest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 2**20 if sys.platform == "darwin" else peak // 2**10  # bytes there, KiB here
