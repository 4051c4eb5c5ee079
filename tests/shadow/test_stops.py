"""What one replica found out, the others know, and so does whoever starts later."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from guerdon_service.core.errors import NotReady
from guerdon_service.core.registry import CANDIDATE, CHAMPION, AliasChange, ModelVersion
from guerdon_service.registry.rules import version_before
from guerdon_service.shadow.plan import ShadowPlan
from guerdon_service.shadow.stops import Stops
from guerdon_service.state.database import open_database
from guerdon_service.state.registry_store import SqlRegistryStore
from tests.shadow.test_scorer import ask
from tests.shadow.test_trial import judgement
from tests.shadow.trio import CANDIDATE_VERSION, CHAMPION_VERSION, NAME, Trio, trio

PLAN = ShadowPlan(canary_share=1.0, alpha=0.01)


def change(alias: str, previous: str | None, to: str) -> AliasChange:
    return AliasChange(NAME, alias, "register", previous, to, "ops", 1.0, "", None, ())


@contextmanager
def opened(url: str) -> Iterator[SqlRegistryStore]:
    database = open_database(url)
    yield SqlRegistryStore(database)
    database.close()


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A registry whose candidate is version 2."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    with opened(url) as store:
        for alias, number in ((CHAMPION, CHAMPION_VERSION), (CANDIDATE, CANDIDATE_VERSION)):
            digest = f"digest-{number}"
            store.add_version(ModelVersion(NAME, number, digest, "reward", "s", "ops", 1.0, {}))
            store.move_alias(change(alias, None, number))
    return url


async def answering(t: Trio) -> str:
    return (await t.scorer.score(ask())).model.version


async def lose(t: Trio) -> None:
    for number in range(20):
        await t.feedback.submit(judgement(number, longer_wins=True))
    await t.settled()


async def test_a_stopped_trial_is_stopped_on_every_replica_and_after_a_restart(url: str) -> None:
    with opened(url) as here, opened(url) as there:
        async with trio(PLAN, "opposite") as one, trio(PLAN, "opposite") as two:
            first, second = Stops(here, one.trials, lambda: 7.0), Stops(there, two.trials)
            await lose(one)
            assert [await answering(t) for t in (one, two)] == [CHAMPION_VERSION, CANDIDATE_VERSION]
            for _ in range(2):
                await first.sync()
                await second.sync()
            assert [await answering(t) for t in (one, two)] == [CHAMPION_VERSION] * 2
        async with trio(PLAN, "opposite") as restarted:
            await Stops(here, restarted.trials).sync()
            assert await answering(restarted) == CHAMPION_VERSION
        history = here.history(NAME)
        assert [(c.action, c.by, c.at) for c in history.changes[2:]] == [("stop", "trial", 7.0)]
        assert "right in 0 of the 20 judgements" in history.changes[-1].reason
        assert history.aliases[CANDIDATE] == CANDIDATE_VERSION
        assert version_before(history, CANDIDATE) is None  # a rollback has nothing to undo of it


async def test_a_candidate_that_is_set_again_starts_anew_elsewhere(url: str) -> None:
    with opened(url) as store:
        async with trio(PLAN, "opposite") as one:
            await lose(one)
            await Stops(store, one.trials).sync()
        store.move_alias(change(CANDIDATE, CANDIDATE_VERSION, CHAMPION_VERSION))
        store.move_alias(change(CANDIDATE, CHAMPION_VERSION, CANDIDATE_VERSION))
        async with trio(PLAN, "opposite") as two:
            await Stops(store, two.trials).sync()
            assert await answering(two) == CANDIDATE_VERSION


class Away:
    """A registry that does not answer."""

    def stop_candidate(self, change: AliasChange) -> None:
        raise NotReady("away")

    def stopped_candidates(self) -> frozenset[tuple[str, str]]:
        raise NotReady("away")


async def test_what_was_found_out_during_an_outage_is_told_after_it(url: str) -> None:
    async with trio(PLAN, "opposite") as one:
        await lose(one)
        with pytest.raises(NotReady):
            await Stops(Away(), one.trials).sync()
        assert await answering(one) == CHAMPION_VERSION
        with opened(url) as store:
            await Stops(store, one.trials).sync()
            assert store.stopped_candidates() == {(NAME, CANDIDATE_VERSION)}
