from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerdon_service.core.conversation import Message
from guerdon_service.core.feedback import Feedback, FeedbackStore
from guerdon_service.state import feedback_store
from guerdon_service.state.database import Database, open_database
from guerdon_service.state.feedback_store import SqlFeedbackStore
from tests.state.racing import race


def feedback(id: str = "f1", tenant: str = "team", **changes: object) -> Feedback:
    prompt = (Message("system", "be \0 kind"), Message("user", "why \ud800?"))
    made = Feedback(id, prompt, "a", "b", False, tenant, "ann", 1 / 3, {"lang": "de"}, ("b", "a"), "m@1")
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(database: Database) -> FeedbackStore:
    return SqlFeedbackStore(database)


@pytest.fixture(scope="module")
def memory() -> Iterator[Database]:
    opened = open_database("sqlite://")
    yield opened
    opened.close()


def test_feedback_comes_back_in_order_and_by_tenant(store: FeedbackStore) -> None:
    given_ = [feedback("f1"), feedback("f2", "rival"), feedback("f0", is_tie=True, shown=(), tags={})]
    for each in given_:
        store.add(each)
    assert list(store.read()) == given_
    assert list(store.read("team")) == [given_[0], given_[2]]
    assert list(store.read("nobody")) == []


def test_the_same_id_again_changes_nothing(store: FeedbackStore) -> None:
    store.add(feedback())
    store.add(feedback(chosen="another"))
    assert list(store.read()) == [feedback()]


def test_an_id_is_the_tenants_own(store: FeedbackStore) -> None:
    store.add(feedback())
    store.add(feedback(tenant="rival", chosen="another"))
    assert list(store.read("team")) == [feedback()]
    assert list(store.read("rival")) == [feedback(tenant="rival", chosen="another")]


def test_pages_are_joined_without_gap_and_more_may_arrive_between(
    store: FeedbackStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feedback_store, "PAGE", 3)
    ids = [f"f{i}" for i in range(7)]
    for each in ids:
        store.add(feedback(each))
    reading = store.read()
    first = next(reading).id
    store.add(feedback("late"))
    assert [first, *(each.id for each in reading)] == [*ids, "late"]


def test_threads_that_add_at_once_lose_nothing(store: FeedbackStore) -> None:
    def add(i: int) -> None:
        for j in range(4):
            store.add(feedback(f"f{i}-{j}"))

    race(8, add)
    assert sorted(each.id for each in store.read()) == sorted(f"f{i}-{j}" for i in range(8) for j in range(4))


@settings(max_examples=40)
@given(st.text(st.characters()), st.text(st.characters()), st.floats(allow_nan=False))
def test_any_text_comes_back(memory: Database, text: str, tenant: str, at: float) -> None:
    store = SqlFeedbackStore(memory)
    given_ = feedback(text, tenant, chosen=text, annotator=tenant, at=at, tags={text: tenant})
    known = {each.id for each in store.read(tenant)}
    store.add(given_)
    assert text in known or list(store.read(tenant))[-1] == given_
