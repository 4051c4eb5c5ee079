"""A pipeline that was killed in the middle of PPO and run again: what the tests look at."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from guerdon_training.config_file import read_mapping
from guerdon_training.pipeline.config import PipelineConfig
from guerdon_training.pipeline.recipe import train_pipeline
from guerdon_training.pipeline.run import Stage, run_stages
from guerdon_training.pipeline.stages import pipeline_stages
from guerdon_training.pipeline.wiring import wire
from guerdon_training.ppo import recipe as ppo_recipe
from guerdon_training.ppo.update import update
from tests.threads import one_thread
from tests.training_pipeline.tiny_project import build_packages, write_project

__all__ = ["one_thread"]


class Killed(BaseException):
    """As when the process is."""


@dataclass(frozen=True)
class Finished:
    """root: working folder. ran: stages of the second run."""

    root: Path
    config: PipelineConfig
    stages: tuple[Stage, ...]
    ran: list[str]

    @property
    def folder(self) -> Path:
        return self.root / self.config.output


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """The whole path on tiny models, killed before PPO's third update; not to be written into."""
    packages, root = tmp_path_factory.mktemp("packages"), tmp_path_factory.mktemp("project")
    build_packages(packages)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(packages))
        patch.setenv("XDG_CACHE_HOME", str(packages / "cache"))
        with pytest.MonkeyPatch.context() as there:
            there.chdir(root)
            path = write_project(root)
            with pytest.MonkeyPatch.context() as killer:
                _kill_at_update(3, killer)
                with pytest.raises(Killed):
                    train_pipeline(path)
            config = wire(read_mapping(path))
            stages = pipeline_stages(config)
            ran = run_stages(stages)
        yield Finished(root, config, stages, ran)
    torch.set_num_threads(threads)


@pytest.fixture
def copied(finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """The same in a folder of the test's own, which is the working folder."""
    root = Path(shutil.copytree(finished.root, tmp_path / "project"))
    monkeypatch.chdir(root)
    return Finished(root, finished.config, finished.stages, finished.ran)


def _kill_at_update(number: int, patch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def killed(*args: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == number:
            raise Killed
        return update(*args)  # type: ignore[arg-type]

    patch.setattr(ppo_recipe, "update", killed)
