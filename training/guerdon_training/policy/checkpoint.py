"""What a run needs to go on after its last whole epoch."""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from accelerate import Accelerator
from safetensors import SafetensorError

from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_training.run_identity import is_same_run

_PROGRESS = "progress.json"


@dataclass(frozen=True, slots=True)
class Progress:
    """identity: see `run_identity`. num_epochs: done. best_epoch, best_loss: on valid so far."""

    identity: str
    num_epochs: int = 0
    best_epoch: int = 0
    best_loss: float = float("inf")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder with one subfolder per saved epoch; one is whole once it holds `progress.json`."""

    folder: Path

    def progress(self, identity: str) -> Progress:
        """How far the last run came; zero epochs where there was none.

        Raises:
            InvalidInput: the checkpoint is another run's.
        """
        last = self._last()
        if last is None:
            return Progress(identity)
        found = Progress(**json.loads((last / _PROGRESS).read_text("utf-8")))
        if not is_same_run(found.identity, identity):
            raise InvalidInput(
                f"{self.folder} holds the checkpoint of another config, data or base; remove it, or give "
                "another output",
                param="output",
            )
        return replace(found, identity=identity)

    def save(self, accelerator: Accelerator, progress: Progress) -> None:
        """Write the state beside the old one, then remove that. Every process calls it.

        Raises:
            GuerdonError: it could not be written; the old one is as it was.
        """
        last, new = self._last(), self.folder / f"{progress.num_epochs:06}"
        accelerator.wait_for_everyone()  # all have seen `last` before one removes it
        try:
            accelerator.save_state(str(new))
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                (new / "progress.part").write_text(json.dumps(asdict(progress)), "utf-8")
                (new / "progress.part").replace(new / _PROGRESS)
        except (OSError, RuntimeError, SafetensorError) as err:  # torch and safetensors have their own
            shutil.rmtree(new, ignore_errors=True)
            raise GuerdonError(
                f"the checkpoint after epoch {progress.num_epochs} could not be written to {self.folder} "
                f"({err}); free space and start again: the run goes on after epoch {progress.num_epochs - 1}"
            ) from err
        if accelerator.is_main_process and last is not None:
            shutil.rmtree(last)

    def restore(self, accelerator: Accelerator) -> None:
        """Load the last state into what `accelerator` has prepared."""
        accelerator.load_state(str(self._last()), strict=False)  # frozen weights are not in it

    def _last(self) -> Path | None:
        return max((p.parent for p in self.folder.glob(f"*/{_PROGRESS}")), default=None)
