from dataclasses import asdict, replace

import pytest

from guerdon_service.core.candidate_log import CandidateRecord, CandidateStore, LoggedCandidate
from guerdon_service.core.conversation import Message
from guerdon_service.state import candidate_store
from guerdon_service.state.candidate_store import SqlCandidateStore
from guerdon_service.state.database import Database, insert_new
from guerdon_service.state.tables import CANDIDATE_RECORDS
from tests.state.racing import race


def record(id: str = "c1", tenant: str = "team", **changes: object) -> CandidateRecord:
    prompt = (Message("system", "be \0 kind"), Message("user", "why \ud800?"))
    candidates = (LoggedCandidate("a", 1 / 3, 0.1, (0.1, -1e-300)), LoggedCandidate("\0", -1e-300, 0.0))
    made = CandidateRecord(id, "r", tenant, "p", "m@1", "f" * 64, prompt, candidates, 0, 1 / 3)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(database: Database) -> CandidateStore:
    return SqlCandidateStore(database)


def test_records_come_back_in_order_and_by_tenant(store: CandidateStore) -> None:
    given = [record("c1"), record("c2", "rival"), record("c0", chosen=None)]
    for each in given:
        store.add(each)
    assert list(store.read()) == given
    assert list(store.read("team")) == [given[0], given[2]]
    assert list(store.read("nobody")) == []


def test_a_record_from_before_deviations_were_kept_has_none(database: Database) -> None:
    candidate = {"text": "a", "reward": 1 / 3, "std": 0.1}
    row = {"id": "c1", "tenant": "team", "body": asdict(record()) | {"candidates": [candidate]}}
    with database.writing() as connection:
        insert_new(connection, CANDIDATE_RECORDS, [row])
    assert list(SqlCandidateStore(database).read()) == [
        record(candidates=(LoggedCandidate("a", 1 / 3, 0.1),)),
    ]


def test_the_same_id_again_changes_nothing_but_a_request_id_may_repeat(store: CandidateStore) -> None:
    store.add(record())
    store.add(record(chosen=1))
    store.add(record("c2"))
    assert list(store.read()) == [record(), record("c2")]


def test_pages_are_joined_without_gap(store: CandidateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate_store, "PAGE", 3)
    ids = [f"c{i}" for i in range(7)]
    for each in ids:
        store.add(record(each))
    assert [each.id for each in store.read()] == ids


def test_old_records_leave_a_page_at_a_time(store: CandidateStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidate_store, "PAGE", 3)
    times = [1.0, 3.0, 2.0, 3.5, 9.0, 3.9, 7.0]  # of several replicas: about in order
    for i, at in enumerate(times):
        store.add(record(f"c{i}", at=at))
    removed = []
    while num := store.prune(before=4.0):
        removed.append(num)
    assert removed == [3, 2]
    assert [each.at for each in store.read()] == [9.0, 7.0]
    store.add(record("c9", at=8.0))
    assert store.prune(before=4.0) == 0


def test_replicas_that_prune_at_once_remove_each_record_once(
    store: CandidateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidate_store, "PAGE", 5)
    for i in range(40):
        store.add(record(f"c{i}", at=float(i)))
    removed: list[int] = []

    def prune(_: int) -> None:
        for _ in range(20):
            removed.append(store.prune(before=30.0))

    race(4, prune)
    assert sum(removed) == 30
    assert [each.at for each in store.read()] == [float(i) for i in range(30, 40)]


def test_threads_that_add_at_once_lose_nothing(store: CandidateStore) -> None:
    def add(i: int) -> None:
        for j in range(4):
            store.add(record(f"c{i}-{j}"))

    race(8, add)
    assert sorted(each.id for each in store.read()) == sorted(f"c{i}-{j}" for i in range(8) for j in range(4))
