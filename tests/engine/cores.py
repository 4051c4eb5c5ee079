"""Two cores in virtual time, which take from a queue as the engine's threads do."""

from collections.abc import Callable
from dataclasses import dataclass, field

from guerdon_service.engine.pending import Pending
from guerdon_service.engine.token_queue import TokenQueue

TOKENS_PER_S, PER_BATCH_S = 7000.0, 0.005
"""Of one core; as an encoder of 23 million weights in bf16."""


@dataclass
class Job:
    """A batch under way: seconds of one core that are left."""

    work_s: float
    left_s: float
    taker: int
    batch: list[Pending]


@dataclass
class Cores:
    """Two cores, shared evenly by the batches under way, in virtual time."""

    queue: TokenQueue
    takers: tuple[int, ...]
    cores_per_job: int
    done: Callable[[list[Pending], float], None]
    """Told of each batch, and of the seconds of all cores that it took."""
    now: float = 0.0
    jobs: list[Job] = field(default_factory=list)

    def run_until(self, until: float) -> None:
        """Compute what waits."""
        while True:
            self._start()
            speed = min(self.cores_per_job, 2 / len(self.jobs)) if self.jobs else 1.0
            first = min(self.jobs, key=lambda job: job.left_s, default=None)
            end = self.now + first.left_s / speed if first else float("inf")
            step = min(end, until) - self.now
            for job in self.jobs:
                job.left_s -= step * speed
            self.now += step
            if first is None or end > until:
                return
            self.jobs.remove(first)
            self.done(first.batch, first.work_s / 2)

    def _start(self) -> None:
        for taker in self.takers:
            if taker in [job.taker for job in self.jobs]:
                continue
            self.queue.wait(0.0, taker)  # its last batch is done
            batch, _ = self.queue.take(self.now, taker)
            if batch:
                work_s = PER_BATCH_S + sum(map(_cost, batch)) / TOKENS_PER_S
                self.jobs.append(Job(work_s, work_s, taker, batch))


def _cost(pending: Pending) -> float:
    """In tokens; attention makes those of long ones dearer."""
    num_tokens = pending.encoded.num_tokens
    return num_tokens * (1 + num_tokens / 800)
