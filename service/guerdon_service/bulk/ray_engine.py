"""Bulk scoring on a cluster, or on this machine, by Ray Data: a pool of actors that each hold a worker."""

import json
import logging
import os
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import ray
import ray.data
from ray import cloudpickle

from guerdon_service.bulk.part import Finished
from guerdon_service.bulk.plan import Slice
from guerdon_service.bulk.worker import Job, Worker
from guerdon_service.core.errors import BackendFailed, GuerdonError

Batch = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RayEngine:
    """`workers` actors.

    gpus_per_worker: of each actor; below 1 several share a device.
    address: of a running cluster, as ``ray.init`` takes it; None starts one on this machine.
    """

    workers: int = 1
    gpus_per_worker: float = 0.0
    address: str | None = None
    name: ClassVar[str] = "ray"

    def run(self, job: Job, slices: Sequence[Slice]) -> Generator[Finished]:
        """See `Engine`. A killed actor is started again, and its slice done again: Ray Data's own default."""
        _connect(self.address, self.workers)
        try:
            rows = [{"slice": json.dumps(asdict(part))} for part in slices]
            done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
                Actor,
                fn_constructor_args=(job,),
                batch_size=1,
                batch_format="numpy",
                compute=ray.data.ActorPoolStrategy(
                    size=min(self.workers, len(slices)), max_tasks_in_flight_per_actor=2
                ),
                num_gpus=self.gpus_per_worker or None,
            )
            for row in done.iter_rows():
                answer: Finished | GuerdonError = cloudpickle.loads(row["answer"])
                if isinstance(answer, GuerdonError):
                    raise answer
                yield answer
        except ray.exceptions.RayError as err:
            reason = f"{type(err).__name__}: {str(err).strip()[:300]}"
            raise BackendFailed(f"Ray gave up ({reason}); the same command continues the run") from err
        finally:
            ray.shutdown()


class Actor:
    """What Ray Data makes once in each actor, and calls with one slice at a time.

    It raises nothing of ours: Ray would try again for ever, or hide the reason. Errors travel as answers.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def __call__(self, batch: Batch) -> Batch:
        """``{"slice": [json]}`` to ``{"answer": [pickled Finished or GuerdonError]}``."""
        parts = [Slice(**json.loads(text)) for text in batch["slice"]]
        return {"answer": [cloudpickle.dumps(self._answer(part)) for part in parts]}

    def _answer(self, part: Slice) -> Finished | GuerdonError:
        try:
            self._worker = self._worker or Worker(self._job)
            return self._worker.run(part)
        except GuerdonError as err:
            return err


def _connect(address: str | None, workers: int) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to anybody
    # Each actor is given a CPU: a machine with fewer would let some wait for ever.
    num_cpus = max(os.cpu_count() or 1, workers)
    here: dict[str, Any] = {} if address else {"include_dashboard": False, "num_cpus": num_cpus}
    ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **here)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # the command has one of its own
    context.enable_operator_progress_bars = False
