from dataclasses import replace

import pytest

from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.registry import (
    CANDIDATE,
    CHAMPION,
    AliasChange,
    GateCheck,
    ModelHistory,
    ModelVersion,
    RegisteredModel,
    RegistryStore,
)
from guerdon_service.state.database import Database
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.state.racing import race


def version(number: str = "1", **changes: object) -> ModelVersion:
    parents = {"data": {"sha256": "ab"}, "seed": 7, "share": 0.1}
    made = ModelVersion("model", number, f"digest-{number}", "reward", "s3://b/x", "ops", 1.5, parents)
    return replace(made, **changes)  # type: ignore[arg-type]


def change(previous: str | None, to: str, **changes: object) -> AliasChange:
    made = AliasChange("model", CHAMPION, "promote", previous, to, "ops", 2.5, "", None, ())
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def store(database: Database) -> SqlRegistryStore:
    return SqlRegistryStore(database)


def test_an_unknown_name_has_an_empty_history(store: RegistryStore) -> None:
    assert store.history("model") == ModelHistory("model", (), {}, ())
    assert store.models() == () and store.aliases() == {}


def test_no_name_has_a_nul_in_it(store: RegistryStore) -> None:
    store.add_version(version())
    assert store.history("model\0") == ModelHistory("model\0", (), {}, ())


def test_versions_are_kept_oldest_first_and_the_same_again_changes_nothing(store: RegistryStore) -> None:
    for number in ("2", "1", "2"):
        store.add_version(version(number))
    store.add_version(version("1", registered_at=9.0, registered_by="another"))
    store.add_version(version("1", name="other"))
    assert store.history("model").versions == (version("2"), version("1"))


def test_every_name_is_listed_with_its_kind_and_its_aliases(store: RegistryStore) -> None:
    for made in (version("1", name="writer", kind="policy"), version("1"), version("2")):
        store.add_version(made)
    for moved in (change(None, "2"), change(None, "1", alias=CANDIDATE)):
        store.move_alias(moved)
    assert store.models() == (
        RegisteredModel("model", "reward", {CANDIDATE: "1", CHAMPION: "2"}),
        RegisteredModel("writer", "policy", {}),
    )


def test_an_artifact_that_moved_is_found_where_it_lies_now(store: RegistryStore) -> None:
    store.add_version(version("1"))
    store.add_version(version("2"))
    store.add_version(version("1", source="elsewhere", registered_at=9.0))
    assert store.history("model").versions == (version("1", source="elsewhere"), version("2"))


def test_a_version_never_changes_its_digest(store: RegistryStore) -> None:
    store.add_version(version())
    with pytest.raises(InvalidInput) as refused:
        store.add_version(version(digest="another"))
    assert refused.value.param == "version"
    assert store.history("model").versions == (version(),)


def test_every_change_of_an_alias_is_kept_with_its_evidence(store: RegistryStore) -> None:
    checks = (GateCheck("identity", True, "equal"), GateCheck("leakage", None, "no lineage \0\ud800"))
    first = change(None, "1", action="register")
    second = change("1", "2", action="override", reason="pager \0 é", evaluation_id="e1", checks=checks)
    third = change(None, "2", alias="candidate")
    for number in ("1", "2"):
        store.add_version(version(number))
    for each in (first, second, third):
        store.move_alias(each)
    history = store.history("model")
    assert history.changes == (first, second, third)
    assert history.aliases == {"champion": "2", "candidate": "2"}
    assert store.aliases() == {("model", "champion"): "2", ("model", "candidate"): "2"}


@pytest.mark.parametrize("previous", [None, "2"])
def test_an_alias_moves_only_from_where_the_change_says(store: RegistryStore, previous: str | None) -> None:
    for number in ("1", "2"):
        store.add_version(version(number))
    store.move_alias(change(None, "1"))
    with pytest.raises(InvalidInput, match="came first"):
        store.move_alias(change(previous, "2"))
    assert store.aliases() == {("model", CHAMPION): "1"}
    assert store.history("model").changes == (change(None, "1"),)


def test_an_alias_never_points_at_an_unknown_version(store: RegistryStore) -> None:
    store.add_version(version("1", name="other"))
    with pytest.raises(InvalidInput, match="not registered"):
        store.move_alias(change(None, "1"))
    assert store.aliases() == {} and store.history("model").changes == ()


@pytest.mark.parametrize("previous", [None, "0"])
def test_of_racing_changes_exactly_one_comes_first(store: RegistryStore, previous: str | None) -> None:
    for number in range(9):
        store.add_version(version(str(number)))
    if previous is not None:
        store.move_alias(change(None, previous))

    def move(i: int) -> bool:
        try:
            store.move_alias(change(previous, str(i + 1)))
        except InvalidInput:
            return False
        return True

    won = race(8, move)
    assert sum(won) == 1
    assert store.aliases() == {("model", CHAMPION): str(won.index(True) + 1)}
    assert store.history("model").changes[-1] == change(previous, str(won.index(True) + 1))


def test_replicas_that_register_one_version_at_once_agree(store: RegistryStore) -> None:
    race(8, lambda _: store.add_version(version()))
    assert store.history("model").versions == (version(),)


def stop(to: str) -> AliasChange:
    return change(to, to, alias=CANDIDATE, action="stop", by="trial")


def test_a_stopped_candidate_stays_stopped_until_its_alias_moves(store: SqlRegistryStore) -> None:
    for number in ("1", "2"):
        store.add_version(version(number))
        store.move_alias(change({"1": None, "2": "1"}[number], number, alias=CANDIDATE, action="register"))
    assert store.stopped_candidates() == frozenset()
    with pytest.raises(InvalidInput, match="no longer stands at 1"):
        store.stop_candidate(stop("1"))
    race(4, lambda _: store.stop_candidate(stop("2")))
    assert [c.action for c in store.history("model").changes] == ["register", "register", "stop"]
    assert store.stopped_candidates() == {("model", "2")}
    assert store.aliases() == {("model", CANDIDATE): "2"}
    store.move_alias(change(None, "1"))  # another alias
    assert store.stopped_candidates() == {("model", "2")}
    store.move_alias(change("2", "1", alias=CANDIDATE))
    store.move_alias(change("1", "2", alias=CANDIDATE))
    assert store.stopped_candidates() == frozenset()
