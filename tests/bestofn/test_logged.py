"""Best-of-n whose candidates are kept: what is kept, when, and that callers never notice."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass, field

import pytest

from guerdon_service.app.build import build
from guerdon_service.app.metrics import PrometheusObserver
from guerdon_service.app.settings import Settings
from guerdon_service.bestofn import logged
from guerdon_service.bestofn.logged import LoggedBestOfN
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.best_of_n import BestOfNResult
from guerdon_service.core.candidate_log import CandidateRecord
from guerdon_service.core.errors import BackendFailed, NotReady
from guerdon_service.core.query import Options
from guerdon_service.scoring.service import ScoringService
from tests.bestofn.fakes import PROMPT, Scripted, best_of_n, listed, query
from tests.fakes import running_service

OPTIONS = Options(tenant="team", request_id="r1")


@dataclass
class Memory:
    """A store; `gate`, where given, is waited for in each `add`, and `error` is raised."""

    gate: threading.Event | None = None
    error: Exception | None = None
    kept: list[CandidateRecord] = field(default_factory=list)

    def add(self, record: CandidateRecord) -> None:
        if self.gate is not None:
            self.gate.wait()
        if self.error is not None:
            raise self.error
        self.kept.append(record)

    def read(self, tenant: str | None = None) -> Iterator[CandidateRecord]:
        return iter(self.kept)

    def prune(self, before: float) -> int:
        raise AssertionError("nothing asked for a bound")


async def test_a_result_is_kept_whole_whichever_way_it_was_asked_for(scorer: ScoringService) -> None:
    store = Memory()
    service = LoggedBestOfN(best_of_n(scorer, Scripted((1, "zz"), (0, "aa"))), store, now=lambda: 12.5)
    assert service.policies() == ("p",)
    result = await service.run(query(2, options=OPTIONS))
    async with aclosing(service.stream(query(2, options=OPTIONS))) as parts:
        assert [isinstance(part, BestOfNResult) async for part in parts] == [False, False, True]
    await service.close()
    first, second = store.kept
    assert first.id != second.id and len(first.id) == 32
    assert (first.request_id, first.tenant, first.policy, first.at) == ("r1", "team", "p", 12.5)
    assert (first.model, first.digest, first.prompt) == ("fake@1", result.model.digest, PROMPT)
    assert [(c.text, c.reward, c.std) for c in first.candidates] == [
        (c.generated.text, c.score.reward, c.score.std) for c in result.candidates
    ]
    assert first.chosen is not None and first.candidates[first.chosen].text == "zz"
    assert second.candidates == first.candidates


async def test_what_an_ensembles_members_say_is_kept() -> None:
    store = Memory()
    specs = [
        ModelSpec("one", "good"),
        ModelSpec("two", "double"),
        ModelSpec("both", "", members=("one", "two")),
    ]
    async with running_service(*specs) as scorer:
        service = LoggedBestOfN(best_of_n(scorer, listed("aa", "zz")), store)
        result = await service.run(query(2, options=Options(model="both")))
        await service.close()
    kept = [(c.std, c.deviations) for c in store.kept[0].candidates]
    assert kept == [(c.score.std, c.score.deviations) for c in result.candidates]
    assert all(std > 0 and len(deviations) == 2 for std, deviations in kept)


async def test_the_choice_is_a_place_among_those_that_were_scored(scorer: ScoringService) -> None:
    store = Memory()
    service = LoggedBestOfN(best_of_n(scorer, listed("aa", "", "zz")), store)  # an empty one is left out
    assert (await service.run(query(3))).best == 2
    await service.run(query(3, min_margin=1e9))
    await service.close()
    assert [(len(r.candidates), r.chosen) for r in store.kept] == [(2, 1), (2, None)]
    assert store.kept[0].tenant == "anonymous"  # as feedback without a key


async def test_nothing_is_kept_of_what_failed_or_was_left(scorer: ScoringService) -> None:
    store = Memory()
    failing = LoggedBestOfN(best_of_n(scorer, Scripted(BackendFailed("dead"))), store)
    with pytest.raises(BackendFailed):
        await failing.run(query(1))
    policy = Scripted((0, "a"), asyncio.Event())
    left = LoggedBestOfN(best_of_n(scorer, policy), store)
    async with aclosing(left.stream(query(2))) as parts:
        await anext(parts)
    await policy.stopped.wait()
    await failing.close()
    await left.close()
    assert store.kept == []


async def test_the_caller_does_not_wait_for_the_store(scorer: ScoringService) -> None:
    store = Memory(gate=threading.Event())
    service = LoggedBestOfN(best_of_n(scorer, listed("aa")), store)
    assert (await service.run(query(1))).best == 0
    assert store.kept == [] and store.gate is not None
    store.gate.set()
    await service.close()
    assert len(store.kept) == 1


@pytest.mark.parametrize("error", [NotReady("the database is away"), RuntimeError("a bug")])
async def test_an_outage_loses_records_not_answers(
    scorer: ScoringService, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    service = LoggedBestOfN(best_of_n(scorer, listed("secret")), Memory(error=error))
    with caplog.at_level(logging.WARNING):
        assert (await service.run(query(1, options=OPTIONS))).best == 0
        await service.close()
    (told,) = [r for r in caplog.records if r.name == logged.__name__]
    assert told.__dict__["request_id"] == "r1"
    assert "secret" not in repr(told.__dict__)


async def test_a_store_that_hangs_holds_a_bounded_number(
    scorer: ScoringService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logged, "MAX_WAITING", 2)
    store = Memory(gate=threading.Event())
    service = LoggedBestOfN(best_of_n(scorer, listed("aa")), store)
    for _ in range(5):
        await service.run(query(1))
    assert store.gate is not None
    store.gate.set()
    await service.close()
    assert len(store.kept) == 2


async def test_candidates_are_kept_only_where_a_setting_says_so() -> None:
    assert not Settings().log_candidates
    for wanted in (False, True):
        domain = await build(Settings(log_candidates=wanted), PrometheusObserver())
        try:
            assert isinstance(domain.services.best_of_n, LoggedBestOfN) == wanted
        finally:
            await domain.close()
