import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from guerdon_service.core.evaluation import Evaluation, EvaluationQuery, EvaluationStore, ItemScores
from guerdon_service.core.evaluation_summary import Figure, Summary
from guerdon_service.state.database import Database, open_database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.migrate import migrate
from tests.state.racing import race

NAN = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0001))[0]


def queued(id: str = "e1", **changes: object) -> Evaluation:
    query = EvaluationQuery("model@2", "held-out.jsonl", "model", "both", 0.01, "ops")
    made = Evaluation(id, "queued", query, "model@2", "d2", "model@1", "d1", "sha", 0, 0, 12.25)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(database: Database) -> EvaluationStore:
    return SqlEvaluationStore(database)


@pytest.fixture(scope="module")
def kept() -> Iterator[SqlEvaluationStore]:
    opened = open_database("sqlite://")
    yield SqlEvaluationStore(opened)
    opened.close()


def test_an_evaluation_comes_back_as_it_was_stored(store: EvaluationStore) -> None:
    alone = queued("e2", baseline=None, baseline_digest=None)
    for evaluation in (queued(), alone):
        store.create(evaluation)
    assert store.get("e1") == queued() and store.get("e2") == alone
    assert store.get("e3") is None
    assert store.all() == (alone, queued())


def test_no_id_has_a_nul_in_it(store: EvaluationStore) -> None:
    store.create(queued())
    assert store.get("e1\0") is None and store.get("\0") is None


def test_a_claim_takes_the_oldest_once(store: EvaluationStore) -> None:
    store.create(queued("e1"))
    store.create(queued("e2"))
    assert store.claim("w1", 100.0, 10.0) == queued("e1", state="running")
    assert store.claim("w2", 100.0, 10.0) == queued("e2", state="running")
    assert store.claim("w3", 100.0, 10.0) is None


def test_a_lease_that_ended_is_claimed_by_another_and_the_first_is_told(store: EvaluationStore) -> None:
    store.create(queued())
    assert store.claim("w1", 100.0, 10.0)
    assert store.renew("e1", "w1", 105.0, 10.0)
    assert store.claim("w2", 114.0, 10.0) is None, "the renewal counts"
    taken = store.claim("w2", 116.0, 10.0)
    assert taken is not None and taken.id == "e1"
    assert not store.renew("e1", "w1", 117.0, 10.0)
    store.add_scores("e1", "w1", "model@1", [ItemScores("a", (1.0,))])
    store.finish("e1", "w1", {})
    store.fail("e1", "w1", "it was mine")
    assert store.scores("e1", "model@1") == {}
    assert store.get("e1") == queued(state="running")


def test_of_many_racing_replicas_each_evaluation_has_one_winner(store: EvaluationStore) -> None:
    for i in range(5):
        store.create(queued(f"e{i}"))
    claims = race(8, lambda i: store.claim(f"w{i}", 100.0, 10.0))
    won = [claim.id for claim in claims if claim is not None]
    assert sorted(won) == [f"e{i}" for i in range(5)]
    for i, claim in enumerate(claims):
        if claim is not None:
            assert store.renew(claim.id, f"w{i}", 101.0, 10.0), "the winner holds the lease"


def test_replicas_racing_for_an_ended_lease_have_one_winner(store: EvaluationStore) -> None:
    store.create(queued())
    for round_ in range(5):
        claims = race(8, lambda i, now=100.0 + 20 * round_: store.claim(f"w{i}", now, 10.0))  # type: ignore[misc]
        assert sum(claim is not None for claim in claims) == 1


def test_an_item_is_kept_and_counted_once(store: EvaluationStore) -> None:
    store.create(queued())
    store.claim("w", 100.0, 10.0)
    store.set_total("e1", 6)
    store.add_scores("e1", "w", "model@1", [ItemScores("a", (1.0, 2.0)), ItemScores("b", None)])
    store.add_scores("e1", "w", "model@1", [ItemScores("b", (9.0,)), ItemScores("c", (3.0,), (0.5,))])
    store.add_scores("e1", "w", "model@2", [ItemScores("a", (4.0,)), ItemScores("a", (4.0,))])
    store.add_scores("e1", "w", "model@2", [])
    assert store.scores("e1", "model@1") == {
        "a": ItemScores("a", (1.0, 2.0)),
        "b": ItemScores("b", None),
        "c": ItemScores("c", (3.0,), (0.5,)),
    }
    assert store.scores("e1", "model@2") == {"a": ItemScores("a", (4.0,))}
    assert store.get("e1") == queued(state="running", done=4, total=6)


def test_more_items_than_a_statement_has_room_for(store: EvaluationStore) -> None:
    store.create(queued())
    store.claim("w", 100.0, 10.0)
    many = [ItemScores(f"item {i}", (i / 7, -i / 3)) for i in range(2500)]
    store.add_scores("e1", "w", "model@1", many)
    store.add_scores("e1", "w", "model@1", many)
    assert store.scores("e1", "model@1") == {each.item_id: each for each in many}
    found = store.get("e1")
    assert found is not None and found.done == 2500


@settings(max_examples=60)
@given(
    st.text(st.characters()),
    st.none() | st.lists(st.floats(), max_size=5).map(tuple),
    st.none() | st.lists(st.floats(), max_size=5).map(tuple),
)
def test_scores_come_back_bit_for_bit_whatever_the_item_is_called(
    kept: SqlEvaluationStore, item: str, rewards: tuple[float, ...] | None, stds: tuple[float, ...] | None
) -> None:
    _comes_back_bitwise(kept, item, rewards, stds)


def test_scores_come_back_bit_for_bit_from_every_database(store: EvaluationStore) -> None:
    rewards = (0.1, 1 / 3, -0.0, 5e-324, 1.7976931348623157e308, float("inf"), -float("inf"), NAN)
    _comes_back_bitwise(store, 'nul \0, half \ud800, "quoted" 😀', rewards, ())


def _comes_back_bitwise(
    store: EvaluationStore, item: str, rewards: tuple[float, ...] | None, stds: tuple[float, ...] | None
) -> None:
    id_ = f"e{len(store.all())}"
    store.create(queued(id_))
    assert store.claim("w", 100.0, 10.0) is not None
    store.add_scores(id_, "w", "model@1", [ItemScores(item, rewards, stds)])
    (found,) = store.scores(id_, "model@1").values()
    assert found.item_id == item
    assert _bits(found.rewards) == _bits(rewards) and _bits(found.stds) == _bits(stds)
    store.finish(id_, "w", {})


def _bits(values: tuple[float, ...] | None) -> bytes | None:
    return None if values is None else struct.pack(f"<{len(values)}d", *values)


def test_a_finished_report_comes_back_exactly_and_lists_leave_it_out(store: EvaluationStore) -> None:
    accuracy = {"value": 0.1 + 0.2, "low": 1 / 3, "high": 0.5, "confidence": 0.95}
    comparison = {"verdict": "not worse", "delta": {"value": 0.0, "low": -0.01, "high": 0.01}, "mid_p": 0.5}
    report: dict[str, Any] = {"accuracy": accuracy, "names": ["\0", "\ud800", "é"], "none": None}
    report |= {"comparison": comparison, "data": {"num_items": 7}}
    figures = Summary(Figure(0.1 + 0.2, 1 / 3, 0.5), 7, "not worse", Figure(0.0, -0.01, 0.01))
    store.create(queued())
    store.claim("w", 100.0, 10.0)
    store.finish("e1", "w", report)
    assert store.get("e1") == queued(state="done", report=report, summary=figures)
    assert store.all() == (queued(state="done", summary=figures),)
    assert not store.renew("e1", "w", 101.0, 10.0)
    assert store.claim("w2", 1e9, 10.0) is None


def test_what_was_finished_before_lists_had_figures_gets_them(
    store: EvaluationStore, database: Database
) -> None:
    report = {
        "accuracy": {"value": 0.5, "low": 0.25, "high": 0.75},
        "data": {"num_items": 4},
        "comparison": None,
    }
    for number in ("e1", "e2"):
        store.create(queued(number))
    store.claim("w", 100.0, 10.0)
    store.finish("e1", "w", report)
    expected = store.all()
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE evaluations DROP COLUMN summary"))
        connection.execute(text("UPDATE schema_version SET version_num = '0002'"))
        migrate(connection)
    assert store.all() == expected
    assert expected[1].summary == Summary(Figure(0.5, 0.25, 0.75), 4)
    with database.writing() as connection:  # as a replica of an older version finishes it
        connection.execute(text("UPDATE evaluations SET summary = NULL"))
    assert store.all() == expected
    found = store.get("e1")
    assert found is not None and (found.summary, found.report) == (expected[1].summary, report)


@pytest.mark.parametrize("how", ["cancel", "fail", "finish"])
def test_what_ended_stays_as_it_ended(store: EvaluationStore, how: str) -> None:
    store.create(queued())
    store.claim("w", 100.0, 10.0)
    ends = {
        "cancel": lambda: store.cancel("e1"),
        "fail": lambda: store.fail("e1", "w", "no file"),
        "finish": lambda: store.finish("e1", "w", {}),
    }
    ends[how]()
    ended = store.get("e1")
    assert ended is not None
    assert ended.state == {"cancel": "cancelled", "fail": "failed", "finish": "done"}[how]
    assert ended.error == ("no file" if how == "fail" else None)
    for other in ends.values():
        other()
    store.add_scores("e1", "w", "model@1", [ItemScores("late", (1.0,))])
    assert store.get("e1") == ended and store.scores("e1", "model@1") == {}
    assert not store.renew("e1", "w", 101.0, 10.0)


def test_a_queued_evaluation_can_be_cancelled(store: EvaluationStore) -> None:
    store.create(queued())
    store.cancel("e1")
    assert store.claim("w", 100.0, 10.0) is None
