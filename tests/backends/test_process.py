"""Engine processes as a back end: the same bits, and an answer or an error whatever becomes of a process."""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from guerdon_service.backends.process.engine_process import Launch
from guerdon_service.backends.process.patience import Patience
from guerdon_service.backends.process.pool import EnginePool
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.ports import Backend, ProcessBackend, ProcessDied
from guerdon_service.scoring.certificate import certify
from tests.engine_process import BREAK, COMMAND, HANG, KILL, PATIENCE, RAISE, pool_of
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest


def item(*tokens: int) -> Encoded:
    return Encoded(np.array([1, *tokens], dtype=np.int32), 1, truncated=False)


BATCH = [item(*range(5 + n, 40)) for n in range(7)]


@contextmanager
def running(num_processes: int, patience: Patience = PATIENCE, **order: str) -> Iterator["Watched"]:
    pool = pool_of(num_processes, patience=patience, order=dict(order))
    try:
        yield Watched(pool)
    finally:
        pool.close()


class Watched:
    """A pool, and every change that it told of."""

    def __init__(self, pool: EnginePool) -> None:
        self.pool = pool
        self.told: list[tuple[int, bool]] = []
        self._changed = threading.Condition()
        pool.watch(self._note)

    def _note(self, num_live: int, restarted: bool) -> None:
        with self._changed:
            self.told.append((num_live, restarted))
            self._changed.notify_all()

    def until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, 60)

    def kill(self, number: int) -> None:
        """SIGKILL, and return once the pool has noticed."""
        count = len(self.told)
        os.kill(self.pids()[number], signal.SIGKILL)
        self.until(lambda: len(self.told) > count)

    def pids(self) -> list[int]:
        return [process["pid"] for process in self.pool.processes()]


def expected(batch: Sequence[Encoded]) -> bytes:
    return WeightedSumBackend().forward(batch)[0].tobytes()


def test_it_is_a_back_end_with_the_same_bits_and_costs() -> None:
    with running(2) as it:
        backend: Backend = it.pool
        assert isinstance(backend, ProcessBackend)
        assert not isinstance(WeightedSumBackend(), ProcessBackend)
        plain = WeightedSumBackend()
        assert (backend.name, backend.dtype, backend.num_heads, backend.shares_prefix) == (
            plain.name,
            plain.dtype,
            plain.num_heads,
            plain.shares_prefix,
        )
        for batch in (BATCH, BATCH[:1], BATCH[::-1]):
            scores, stats = backend.forward(batch)
            assert scores.dtype == np.float32 and scores.tobytes() == expected(batch)
            assert stats == plain.forward(batch)[1]


def test_batches_take_turns_and_run_beside_each_other() -> None:
    with running(2, replace(PATIENCE, forward_s=1.0)) as it:
        for _ in range(4):
            it.pool.forward(BATCH)
        assert [process["forwards"] for process in it.pool.processes()] == [2, 2]
        with ThreadPoolExecutor(1) as beside:
            stuck = beside.submit(it.pool.forward, [item(HANG), item(7)])
            while not stuck.done():
                assert it.pool.forward(BATCH)[0].tobytes() == expected(BATCH)
            assert isinstance(stuck.exception(), ProcessDied), "a process that hangs is killed"


@pytest.mark.parametrize(("scale", "passes"), [(1e-4, True), (1.000001e-4, False)])
def test_a_certificate_is_taken_of_every_process(scale: float, passes: bool) -> None:
    artifact = Artifact(Path(), Path(), None, manifest())
    pool = EnginePool([Launch(COMMAND, {"scale": s}) for s in (1e-4, scale)], PATIENCE)
    found = certify(
        artifact, CodePointEncoder(), pool, (), lambda _, batch: WeightedSumBackend().forward(batch)[0]
    )
    pool.close()
    assert found.passed == passes, found.failure


def test_a_killed_process_is_started_again() -> None:
    with running(2) as it:
        it.pool.forward(BATCH)
        before = it.pids()
        it.kill(0)
        assert it.told[-1] == (1, False)
        it.until(lambda: it.told[-1] == (2, True))
        after = it.pids()
        assert after[1] == before[1] and after[0] != before[0]
        assert [process["restarts"] for process in it.pool.processes()] == [1, 0]
        for _ in range(2):
            assert it.pool.forward(BATCH)[0].tobytes() == expected(BATCH)


def test_while_no_process_lives_a_batch_waits_for_one() -> None:
    with running(1) as it:
        it.pool.forward(BATCH)
        it.kill(0)
        assert it.told[-1] == (0, False)
        assert it.pool.forward(BATCH)[0].tobytes() == expected(BATCH)


def test_a_lone_item_is_tried_once_more_and_then_fails() -> None:
    with running(1) as it:
        it.pool.forward(BATCH)
        with pytest.raises(ProcessDied):
            it.pool.forward([item(KILL)])
        it.until(lambda: it.told.count((1, True)) == 2)
        assert it.pool.forward(BATCH)[0].tobytes() == expected(BATCH)
        assert it.told.count((0, False)) == 2, "it killed two processes and no third"


def test_an_error_in_the_process_is_told_and_leaves_it_alive() -> None:
    with running(1) as it:
        it.pool.forward(BATCH)
        with pytest.raises(RuntimeError, match="injected"):
            it.pool.forward([item(RAISE)])
        assert it.pool.forward(BATCH)[0].tobytes() == expected(BATCH)
        assert it.told == [(1, False)]


def test_a_process_that_fails_from_then_on_is_ended_and_another_one_scores() -> None:
    with running(2) as it:
        it.pool.forward(BATCH)
        with pytest.raises(ProcessDied, match="fails on what it scored before"):
            it.pool.forward([item(BREAK), item(7)])
        for _ in range(4):
            assert it.pool.forward(BATCH)[0].tobytes() == expected(BATCH)
        it.until(lambda: it.told[-1] == (2, True))


def test_a_model_that_is_refused_is_refused_with_its_reason_and_leaves_no_process() -> None:
    with pytest.raises(InvalidInput, match="the head is gone") as caught:
        pool_of(2, order={"refuse": "the head is gone"})
    assert caught.value.param == "source"
    assert not children()


def test_a_process_that_cannot_start_again_is_tried_with_growing_pauses_and_batches_fail(
    tmp_path: Path,
) -> None:
    needed = tmp_path / "needed"
    needed.touch()
    with running(1, replace(PATIENCE, down_s=0.5), needs=str(needed)) as it:
        it.pool.forward(BATCH)
        needed.unlink()
        it.kill(0)
        with pytest.raises(ProcessDied, match="no engine process is left"):
            it.pool.forward(BATCH)
        needed.touch()
        it.until(lambda: it.told[-1] == (1, True))
        assert it.pool.forward(BATCH)[0].tobytes() == expected(BATCH)


def test_who_waits_for_a_process_at_work_does_not_wait_for_ever_when_all_die(tmp_path: Path) -> None:
    needed = tmp_path / "needed"
    needed.touch()
    with (
        running(2, replace(PATIENCE, down_s=0.5), needs=str(needed)) as it,
        ThreadPoolExecutor(3) as beside,
    ):
        needed.unlink()
        stuck = [beside.submit(it.pool.forward, [item(HANG), item(7)]) for _ in range(3)]
        for number in range(2):
            it.kill(number)
        try:
            assert [type(one.exception(20)) for one in stuck] == [ProcessDied] * 3
        finally:
            it.pool.close()


def test_a_batch_that_cannot_be_sent_leaves_its_process_free() -> None:
    with running(1) as it:
        with pytest.raises(ValueError):
            it.pool.forward([])
        assert it.pool.forward(BATCH)[0].tobytes() == expected(BATCH)


def test_a_process_that_gives_other_scores_than_before_takes_no_work(tmp_path: Path) -> None:
    factor = tmp_path / "factor"
    factor.write_text("1")
    with running(1, replace(PATIENCE, down_s=1.0), factor=str(factor)) as it:
        it.pool.forward(BATCH)
        factor.write_text("1.0000001")
        it.kill(0)
        with pytest.raises(ProcessDied, match="no engine process is left"):
            it.pool.forward(BATCH)
        assert (1, True) not in it.told


def test_closing_ends_a_process_whatever_it_is_at() -> None:
    with running(2) as it, ThreadPoolExecutor(1) as beside:
        stuck = beside.submit(it.pool.forward, [item(HANG), item(7)])
        descriptors = [os.pidfd_open(pid) for pid in it.pids()]
        it.pool.close()
        assert isinstance(stuck.exception(60), ProcessDied)
        for descriptor in descriptors:
            assert select.select([descriptor], [], [], 0)[0], "it lives"
            os.close(descriptor)
    assert not children(), "nobody reaped it"


def children() -> list[str]:
    """Engine processes below this one, the dead that nobody reaped among them."""
    tasks = Path("/proc/self/task").glob("*/children")
    pids = [pid for task in tasks for pid in task.read_text().split()]
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids]
    return [p for p, c in zip(pids, commands, strict=True) if b"engine_process" in c or not c]


def test_pauses_double_and_are_bounded() -> None:
    started = time.monotonic()
    with running(1, replace(PATIENCE, delay_s=0.05, max_delay_s=0.2)) as it:
        for count in range(1, 5):
            it.kill(0)
            it.until(lambda count=count: it.told.count((1, True)) == count)  # type: ignore[misc]
    assert time.monotonic() - started >= 0.05 + 0.1 + 0.2 + 0.2
