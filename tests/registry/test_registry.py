from dataclasses import replace

import pytest

from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.errors import (
    GateRefused,
    InvalidInput,
    UnknownEvaluation,
    UnknownModel,
)
from guerdon_service.core.evaluation import Evaluation, EvaluationQuery
from guerdon_service.core.registry import CHAMPION, AliasChange, PromoteQuery
from guerdon_service.state.database import Database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.registry.replica import Replica, empty_service, replica, with_registry
from tests.registry.test_gate import outcome

WHY = "the pager rings and 2 is known good"


async def forced(on: Replica, version: str, reason: str | None = WHY) -> AliasChange:
    return await on.registry.promote(PromoteQuery("m", version, "ops", override_reason=reason))


async def test_a_configured_model_becomes_version_and_champion_once(database: Database) -> None:
    for _ in range(2):  # a restart changes nothing
        async with replica(database) as one:
            assert await one.ask() == await one.ask("m@1") == await one.ask("m@champion") == "1"
            history = await one.registry.history("m")
    assert [(v.version, v.digest, v.registered_by) for v in history.versions] == [
        ("1", "digest-1", "settings")
    ]
    assert history.aliases == {"champion": "1"}
    assert [(c.action, c.previous, c.version) for c in history.changes] == [("register", None, "1")]


async def test_a_restarted_replica_serves_the_champion_and_not_what_it_is_configured_with(
    database: Database,
) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        await forced(one, "2")
    async with replica(database, "1") as one:
        assert await one.ask() == "2" and await one.ask("m@1") == "1"
        assert one.service.is_ready()
        (default,) = [info for info in one.service.models() if info.default]
        assert default.version == "2"


async def test_later_versions_are_loaded_and_become_candidates(database: Database) -> None:
    async with replica(database) as one:
        made = await one.registry.register("m", "2", "ops")
        assert (made.version, made.digest, made.registered_by) == ("2", "digest-2", "ops")
        assert await one.ask() == "1" and await one.ask("m@candidate") == await one.ask("m@2") == "2"
        assert await one.registry.register("m", "2", "somebody else") == made
        await one.registry.register("m", "3", "ops")
        history = await one.registry.history("m")
    assert history.aliases == {"champion": "1", "candidate": "3"}
    assert len(history.changes) == 3


async def test_a_new_name_is_registered_loaded_and_its_own_champion(database: Database) -> None:
    async with replica(database) as one:
        await one.registry.register("new", "5", "ops")
        assert [i.aliases for i in one.service.models() if i.name == "new"] == [("champion",)]
        assert (await one.registry.history("new")).aliases == {"champion": "5"}


async def test_a_version_keeps_its_digest_and_an_artifact_that_changed_is_refused(database: Database) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        one.artifacts.changed["2"] = "another"
        with pytest.raises(InvalidInput, match="version of its own") as refused:
            await one.registry.register("m", "2", "ops")
        assert refused.value.param == "version"
        with pytest.raises(GateRefused, match=r"identity: digest is another on disk, digest-2 registered"):
            await forced(one, "2")
        assert await one.ask() == "1"
    async with empty_service() as service, with_registry(service, database) as other:
        other.artifacts.changed["1"] = "another"
        with pytest.raises(InvalidInput, match="digest"):
            await other.registry.adopt(ModelSpec("m", "1"))


@pytest.mark.parametrize("reason", ["", "  \n"])
async def test_a_rollback_needs_a_written_reason(database: Database, reason: str) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        await forced(one, "2")
        with pytest.raises(InvalidInput, match="reason is empty; write why") as refused:
            await one.registry.rollback("m", CHAMPION, "ops", reason)
        assert refused.value.param == "reason"
        assert await one.ask() == "2"


@pytest.mark.parametrize("reason", ["", "  \n"])
async def test_an_override_needs_a_written_reason(database: Database, reason: str) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        with pytest.raises(InvalidInput) as refused:
            await forced(one, "2", reason)
        assert refused.value.param == "override_reason"
        assert "(--override on the command line)" in refused.value.message
        assert await one.ask() == "1"


async def test_the_gate_refuses_with_reasons_and_an_override_is_kept_with_them(database: Database) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        with pytest.raises(GateRefused, match=r"evaluation: none given: evaluate it against 1"):
            await forced(one, "2", None)
        assert await one.ask() == "1"
        change = await forced(one, "2")
        assert await one.ask() == "2"
        kept = (await one.registry.history("m")).changes[-1]
    assert kept == change
    assert (kept.action, kept.previous, kept.version, kept.by, kept.reason) == (
        "override",
        "1",
        "2",
        "ops",
        WHY,
    )
    assert {c.name: c.passed for c in kept.checks if c.passed is not None} == {
        "identity": True,
        "interface": True,
        "evaluation": False,
        "other evaluations": True,
        "latency": True,
        "trial": True,
    }


async def test_an_evaluation_that_is_not_named_speaks_against_it_too(database: Database) -> None:
    store = SqlEvaluationStore(database)
    query = EvaluationQuery("m@2", "hard.jsonl", "m@1")
    store.create(Evaluation("e7", "queued", query, "m@2", "digest-2", "m@1", "digest-1", "f" * 64, 9, 9, 1.0))
    store.claim("w", 1.0, 1.0)
    delta = {"value": -0.05, "low": -0.07, "high": -0.03}
    store.finish("e7", "w", {"comparison": outcome("worse") | {"delta": delta}})
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        with pytest.raises(GateRefused, match=r"other evaluations: e7 is worse: -0\.050"):
            await forced(one, "2", None)
        assert (await forced(one, "2")).action == "override"


async def test_a_candidate_that_judgements_stopped_is_not_promoted(database: Database) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        became = (await one.registry.history("m")).changes[-1]
        stop = replace(
            became, action="stop", previous="2", by="trial", reason="right in 0 of the 20 judgements"
        )
        SqlRegistryStore(database).stop_candidate(stop)
        told = "trial: it was stopped as the candidate: right in 0 of the 20 judgements"
        with pytest.raises(GateRefused, match=told):
            await forced(one, "2", None)
        await one.registry.register("m", "3", "ops")
        with pytest.raises(GateRefused, match=told):
            await forced(one, "2", None)
        with pytest.raises(GateRefused) as refused:
            await forced(one, "3", None)
        assert "trial" not in refused.value.message
        assert (await forced(one, "2")).action == "override"


async def test_rollback_undoes_one_promotion_after_another(database: Database) -> None:
    async with replica(database) as one:
        for version in ("2", "3"):
            await one.registry.register("m", version, "ops")
            await forced(one, version)
        assert await one.ask() == "3"
        for expected in ("2", "1"):
            change = await one.registry.rollback("m", CHAMPION, "ops", "worse on chat")
            assert (change.action, change.version, change.reason) == ("rollback", expected, "worse on chat")
            assert await one.ask() == expected
        with pytest.raises(InvalidInput, match="no version before"):
            await one.registry.rollback("m", CHAMPION, "ops", "worse")
        await forced(one, "3")
        await one.registry.rollback("m", CHAMPION, "ops", "worse")
        assert await one.ask() == "1"


async def test_an_alias_is_removed_and_its_version_let_go_and_kept(database: Database) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        change = await one.registry.remove_alias("m", "candidate", "ops", "it leaked")
        assert (change.action, change.previous, change.version) == ("remove", "2", "2")
        with pytest.raises(UnknownModel):
            await one.ask("m@candidate")
        await one.registry.idle()
        assert [info.version for info in one.service.models()] == ["1"]
        history = await one.registry.history("m")
        assert (history.aliases, history.changes[-1]) == ({"champion": "1"}, change)
        assert [version.version for version in history.versions] == ["1", "2"]
        with pytest.raises(InvalidInput, match="no version before"):
            await one.registry.rollback("m", "candidate", "ops", "")
        await one.registry.promote(PromoteQuery("m", "2", "ops", alias="candidate", override_reason=WHY))
        assert await one.ask("m@candidate") == "2"


@pytest.mark.parametrize("alias", ["candidate", "kept"])
async def test_an_alias_that_is_new_is_held_against_the_champion(database: Database, alias: str) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        await one.registry.remove_alias("m", "candidate", "ops", "it leaked")
        with pytest.raises(GateRefused, match="evaluation: none given: evaluate it against 1"):
            await one.registry.promote(PromoteQuery("m", "2", "ops", alias=alias))
        change = await one.registry.promote(PromoteQuery("m", "1", "ops", alias=alias))
        assert (change.action, change.previous) == ("promote", None), "the champion itself"
        assert await one.ask(f"m@{alias}") == "1"


async def test_what_cannot_be_removed_is_told(database: Database) -> None:
    async with replica(database) as one:
        for alias, why in (("champion", "which stays"), ("ghost", "its aliases are: champion")):
            with pytest.raises(InvalidInput, match=why) as refused:
                await one.registry.remove_alias("m", alias, "ops", "")
            assert refused.value.param == "alias"
        with pytest.raises(UnknownModel):
            await one.registry.remove_alias("nobody", "candidate", "ops", "")
        await one.registry.register("m", "2", "ops")
        with pytest.raises(InvalidInput, match="reason is empty") as refused:
            await one.registry.remove_alias("m", "candidate", "ops", " ")
        assert refused.value.param == "reason"
        assert await one.ask() == "1"


async def test_rollback_loads_what_was_unloaded(database: Database) -> None:
    async with replica(database) as one:
        await one.registry.register("m", "2", "ops")
        await forced(one, "2")
        await one.service.unload_model("m@1")
        await one.registry.rollback("m", CHAMPION, "ops", "worse")
        assert await one.ask() == "1"


async def test_what_is_unknown_is_named(database: Database) -> None:
    async with replica(database) as one:
        with pytest.raises(UnknownModel):
            await one.registry.history("ghost")
        with pytest.raises(UnknownModel):
            await one.registry.rollback("ghost", CHAMPION, "ops", "")
        with pytest.raises(UnknownEvaluation):
            await one.registry.register("m", "2", "ops")
            await one.registry.promote(PromoteQuery("m", "2", "ops", evaluation_id="ghost"))
        for query, param in {
            PromoteQuery("m", "9", "ops"): "version",
            PromoteQuery("m", "1", "ops"): "version",
            PromoteQuery("m", "2", "ops", alias="1"): "alias",
            PromoteQuery("m", "2", "ops", alias="a b"): "alias",
        }.items():
            with pytest.raises(InvalidInput) as refused:
                await one.registry.promote(query)
            assert refused.value.param == param
        for name, source, param in (("a b", "2", "name"), ("m", "bad", "source")):
            with pytest.raises(InvalidInput) as refused:
                await one.registry.register(name, source, "ops")
            assert refused.value.param == param
        assert await one.ask() == "1"
