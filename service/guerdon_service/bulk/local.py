"""Bulk scoring on one machine: in this process, or in several."""

import multiprocessing
import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import ClassVar

from guerdon_service.bulk.part import Finished
from guerdon_service.bulk.plan import Slice
from guerdon_service.bulk.worker import Job, Worker
from guerdon_service.core.errors import BackendFailed

MAX_DEATHS = 3
"""Workers that may die in a row with nothing finished between: more is no accident."""


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """One worker here, or `workers` processes."""

    workers: int = 1
    name: ClassVar[str] = "local"

    def run(self, job: Job, slices: Sequence[Slice]) -> Generator[Finished]:
        """See `Engine`."""
        if self.workers == 1:
            return _here(job, slices)
        return _in_processes(job, slices, min(self.workers, len(slices)))


@dataclass(slots=True)
class _Child:
    process: BaseProcess
    pipe: Connection
    part: Slice


def _here(job: Job, slices: Sequence[Slice]) -> Generator[Finished]:
    with closing(Worker(job)) as worker:
        for part in slices:
            yield worker.run(part)


def _in_processes(job: Job, slices: Sequence[Slice], workers: int) -> Generator[Finished]:
    todo = deque(slices)
    children = [_start(job, todo.popleft()) for _ in range(workers)]
    deaths = 0
    try:
        while children:
            for pipe in wait([child.pipe for child in children]):
                child = next(c for c in children if c.pipe is pipe)
                answer = _answer(child)
                if isinstance(answer, Exception):
                    raise answer
                deaths = deaths + 1 if answer is None else 0
                _check_deaths(deaths, child)
                if answer is not None and todo:
                    child.part = todo.popleft()
                    _send(child)
                else:
                    _stop(child)
                    children.remove(child)
                if answer is None:
                    children.append(_start(job, child.part))
                else:
                    yield answer
    finally:
        for child in children:
            _stop(child)


def _start(job: Job, part: Slice) -> _Child:
    """A new interpreter: a forked one would share the threads and devices of this one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()  # so that the worker's death is the end of the pipe
    child = _Child(process, ours, part)
    _send(child)
    return child


def _send(child: _Child) -> None:
    with suppress(OSError):  # it is dead, which the next read tells
        child.pipe.send(child.part)


def _answer(child: _Child) -> Finished | Exception | None:
    """None: the process is gone."""
    try:
        answer: Finished | Exception = child.pipe.recv()
    except (EOFError, OSError, pickle.UnpicklingError):  # killed before or in the middle of its answer
        child.process.join()
        return None
    return answer


def _check_deaths(deaths: int, last: _Child) -> None:
    if deaths >= MAX_DEATHS:
        code = last.process.exitcode or 0
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        raise BackendFailed(
            f"{deaths} workers died one after the other ({how}); give fewer --workers if memory is short; "
            "the same command continues the run"
        )


def _stop(child: _Child) -> None:
    """At once: what it was writing is a draft."""
    child.process.kill()
    child.process.join()
    child.pipe.close()


def _end_with_driver() -> None:
    """A killed driver's workers go with it: the next run needs their memory, a GPU's most of all."""
    driver = multiprocessing.parent_process()
    assert driver is not None, "this is a worker process"
    wait([driver.sentinel])
    os._exit(1)


def _work(job: Job, pipe: Connection) -> None:
    """A worker process: answers slices until it is stopped, or the driver is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the driver's, which then stops this process
    threading.Thread(target=_end_with_driver, daemon=True).start()
    with suppress(OSError):  # nobody is left to be told
        try:
            with closing(Worker(job)) as worker:
                while True:
                    pipe.send(worker.run(pipe.recv()))
        except EOFError:
            pass
        except Exception as err:
            pipe.send(err)
