"""A service with evaluation over fakes, as one replica of several: in this process, or as one of its own.

``python -m tests.evaluation.replica URL FOLDER NUM_FORWARDS`` works until its models have done so many
forwards, then hangs in the next one, having printed ``stuck``, to be killed.
"""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.evaluation import Evaluation, EvaluationStore
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import ForwardStats
from guerdon_service.evaluation.pinning import KeepLoaded, nothing_registered
from guerdon_service.evaluation.service import EvaluationService
from guerdon_service.scoring.service import ScoringService
from guerdon_service.state.database import open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest, running_service

NAMES = ("old", "new")
LEASE_S = 0.5
PATIENCE_S = 120
"""A worker that stopped for good fails a test instead of hanging it."""
LIMITS = Limits(max_batch_tokens=256)


class Gate:
    """Lets so many forwards pass, then holds them until it is opened."""

    def __init__(self, num_forwards: int = 10**9) -> None:
        self.left = num_forwards
        self.stuck = threading.Event()
        self._opened = threading.Event()

    def open(self) -> None:
        self.left = 10**9
        self._opened.set()

    def pass_through(self) -> None:
        self.left -= 1
        if self.left < 0:
            self.stuck.set()
            self._opened.wait()


class RecordingBackend(WeightedSumBackend):
    """Remembers every conversation that it scored."""

    def __init__(self, scale: float, gate: Gate, seen: list[bytes] | None) -> None:
        super().__init__(scale, before=gate.pass_through)
        self._seen = seen

    def forward(self, batch: Sequence[Encoded]) -> tuple[NDArray[np.float32], ForwardStats]:
        found = super().forward(batch)
        if self._seen is not None:
            self._seen += [encoded.input_ids.tobytes() for encoded in batch]
        return found


@dataclass
class Replica:
    """One replica; `seen` holds the conversations that its models scored, probes included."""

    scoring: ScoringService
    evaluator: EvaluationService
    seen: dict[str, list[bytes]]
    gate: Gate
    worker: asyncio.Task[None] | None = None

    def work(self) -> None:
        """Begin to work on jobs."""
        self.worker = asyncio.create_task(self.evaluator.run())

    async def kill(self) -> None:
        """Stop working as a killed process does: nothing is told to anyone."""
        if self.worker is None:
            return
        self.worker.cancel()
        await asyncio.gather(self.worker, return_exceptions=True)

    async def ended(self, evaluation_id: str) -> Evaluation:
        """The evaluation once it has ended."""
        async with asyncio.timeout(PATIENCE_S):
            return [shown async for shown in self.evaluator.follow(evaluation_id)][-1]


@asynccontextmanager
async def running_replica(
    store: EvaluationStore,
    folder: Path,
    num_forwards: int = 10**9,
    *,
    works: bool = True,
    names: Sequence[str] = NAMES,
    keep_loaded: KeepLoaded = nothing_registered,
    record: bool = True,
) -> AsyncIterator[Replica]:
    """Models of `NAMES`; their names stand for version 1 of each."""
    gate, seen = Gate(num_forwards), {"old": list[bytes](), "new": list[bytes]()}

    def load(spec: ModelSpec) -> LoadedModel:
        scale = 1e-4 if spec.name == "old" else -1e-4
        backend = RecordingBackend(scale, gate, seen[spec.name] if record else None)
        return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), backend)

    specs = [ModelSpec(name, "good") for name in names]
    async with running_service(*specs, load=load, limits=LIMITS) as scoring:
        evaluator = EvaluationService(scoring, store, folder, keep_loaded, lease_s=LEASE_S, poll_s=0.02)
        replica = Replica(scoring, evaluator, seen, gate)
        if works:
            replica.work()
        try:
            yield replica
        finally:
            gate.open()
            await replica.kill()


async def _main(url: str, folder: str, num_forwards: str) -> None:
    database = open_database(url)
    async with running_replica(SqlEvaluationStore(database), Path(folder), int(num_forwards)) as replica:
        await asyncio.to_thread(replica.gate.stuck.wait)
        sys.stdout.write("stuck\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
