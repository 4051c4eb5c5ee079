"""Random histories keep every invariant; broken engines do not, and a failing history replays."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from guerdon_service.core.errors import BackendFailed
from guerdon_service.core.fingerprint import fingerprints
from guerdon_service.engine import token_queue
from guerdon_service.engine.engine import Engine
from guerdon_service.engine.fair_lane import FairLane
from guerdon_service.engine.pending import Pending
from guerdon_service.engine.token_queue import TokenQueue
from guerdon_service.engine.worker import Worker
from guerdon_service.scoring import model_scorer
from tests.simulation.__main__ import main
from tests.simulation.history import run_history

NUM_HISTORIES = 1000
"""About ten seconds; ``python -m tests.simulation`` runs ten thousand."""
NUM_TRIES = 300
"""Histories within which a broken engine is found out."""

Break = Callable[[pytest.MonkeyPatch], None]


def test_every_invariant_holds_in_every_history() -> None:
    for seed in range(NUM_HISTORIES):
        history = run_history(seed)
        assert not history.violations, history.verdict


def test_a_history_is_a_function_of_its_seed() -> None:
    for seed in range(20):
        assert run_history(seed).world.trace == run_history(seed).world.trace
    assert run_history(0).world.trace != run_history(1).world.trace


def test_the_histories_have_every_kind_of_ending() -> None:
    kinds = {kind for seed in range(60) for kind in run_history(seed).outcomes}
    assert kinds >= {
        "ScoreResult",
        "Overloaded",
        "DeadlineExceeded",
        "BackendFailed",
        "CancelledError",
        "NotReady",
    }


def lose_an_answer(patch: pytest.MonkeyPatch) -> None:
    scatter = Engine._scatter
    patch.setattr(
        Engine,
        "_scatter",
        lambda self, batch, answers, report: scatter(
            self, batch[:-1] if len(batch) > 2 else batch, answers[:-1] if len(batch) > 2 else answers, report
        ),
    )


def forget_to_wake(patch: pytest.MonkeyPatch) -> None:
    put = TokenQueue.put

    def silent(self: TokenQueue, pendings: Sequence[Pending]) -> bool:
        patch.setattr(self._changed, "notify_all", lambda: None)
        return put(self, pendings)

    patch.setattr(TokenQueue, "put", silent)


def answer_nobody_on_close(patch: pytest.MonkeyPatch) -> None:
    close = TokenQueue.close
    patch.setattr(TokenQueue, "close", lambda self: close(self) and [])


def overfill(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(token_queue._Batch, "cost", lambda self, pending: pending.encoded.num_tokens // 2)


def ignore_the_version(patch: pytest.MonkeyPatch) -> None:
    def same_for_all(identity: Any, tenant: str, batch: Any) -> list[bytes]:
        return fingerprints(type(identity)("same", "", ""), tenant, batch)

    patch.setattr(model_scorer, "fingerprints", same_for_all)


def fail_the_batch(patch: pytest.MonkeyPatch) -> None:
    answers = Worker._answers

    def whole(self: Worker, batch: Sequence[Any]) -> Any:
        found, cost = answers(self, batch)
        bad = [a for a in found if isinstance(a, BackendFailed)]
        return ([bad[0]] * len(batch) if bad else found), cost

    patch.setattr(Worker, "_answers", whole)


def believe_anything(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Worker, "_checked", lambda self, row: row)


def starve_bulk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(token_queue, "BULK_SHARE", 0.0)
    patch.setattr(TokenQueue, "tokens_before", lambda *_: 0.0)


def let_the_greedy_go_first(patch: pytest.MonkeyPatch) -> None:
    append = FairLane.append

    def unfair(self: FairLane, pending: Pending) -> None:
        append(self, pending)
        self._credit[pending.tenant] = 1e9 if pending.tenant == "greedy" else 0.0

    patch.setattr(FairLane, "append", unfair)


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (lose_an_answer, "whoever waits long enough is answered"),
        (forget_to_wake, "whoever waits long enough is answered"),
        (answer_nobody_on_close, "whoever waits long enough is answered"),
        (overfill, "no batch of several items over the budget"),
        (ignore_the_version, "the true score"),
        (fail_the_batch, "no request fails for its batch mates"),
        (believe_anything, "the true score"),
        (starve_bulk, "no bulk request starves"),
        (let_the_greedy_go_first, "no interactive request starves"),
    ],
)
def test_a_broken_engine_is_found_out(broken: Break, promise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    broken(monkeypatch)
    seed = next((s for s in range(NUM_TRIES) if promise in run_history(s).violations), None)
    assert seed is not None, f"{NUM_TRIES} histories and nobody noticed"
    assert f"GUERDON_SEED={seed} " in run_history(seed).verdict


def test_a_failing_seed_replays_with_its_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overfill(monkeypatch)
    assert main(["--histories", "40"]) == 1
    told = capsys.readouterr().out
    seed = told.split("GUERDON_SEED=")[1].split(" ")[0]
    monkeypatch.setenv("GUERDON_SEED", seed)
    assert main([]) == 1
    assert "VIOLATION no batch of several items over the budget" in capsys.readouterr().out
