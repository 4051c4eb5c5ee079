"""Shadow and canary traffic: who answers, what is compared, and that nobody waits."""

import asyncio
import threading
from dataclasses import replace

import pytest

from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput, UnknownModel
from guerdon_service.core.manifest import Profile
from guerdon_service.core.query import CompareQuery, Options, Pair, RankQuery, ScoreQuery
from guerdon_service.shadow.plan import ShadowPlan
from guerdon_service.shadow.scorer import MAX_IN_FLIGHT
from tests.fakes import WeightedSumBackend
from tests.shadow.trio import CANDIDATE_VERSION, CHAMPION_VERSION, NAME, load, trio

ALL = ShadowPlan(shadow_share=1.0)
PROMPT = (Message("user", "Which?"),)
CANDIDATES = ("a", "bb", "ccc", "z")


def ask(prompt: str = "Which?", model: str | None = None, tenant: str = "") -> ScoreQuery:
    return ScoreQuery((Conversation.of(prompt, "yes"),), Options(model=model, tenant=tenant))


async def test_a_shadow_answers_nobody_and_is_compared() -> None:
    async with trio(ALL) as t:
        alone = await t.inner.rank(RankQuery(PROMPT, CANDIDATES))
        served = await t.scorer.rank(RankQuery(PROMPT, CANDIDATES))
        assert served.model.version == CHAMPION_VERSION
        assert [r.score.reward for r in served.results] == [r.score.reward for r in alone.results]
        agreement = (await t.settled()).agreement
        assert (agreement.num_items, agreement.num_groups, agreement.num_pairs) == (4, 1, 6)
        assert (agreement.tau, agreement.same_best_share, agreement.flip_share) == (1.0, 1.0, 0.0)
        assert agreement.scale == pytest.approx(2.0, rel=1e-5)
        assert agreement.offset == pytest.approx(0.0, abs=1e-6)


async def test_an_opposite_candidate_flips_every_pair() -> None:
    async with trio(ALL, "opposite") as t:
        await t.scorer.rank(RankQuery(PROMPT, CANDIDATES, top_k=3))
        await t.scorer.compare(CompareQuery((Pair(PROMPT, "a", "bb"), Pair(PROMPT, "z", "ccc"))))
        agreement = (await t.settled()).agreement
        assert (agreement.num_groups, agreement.num_pairs, agreement.num_flips) == (3, 5, 5)
        assert (agreement.tau, agreement.same_best_share) == (-1.0, 0.0)
        assert agreement.scale == pytest.approx(-1.0, rel=1e-5)


async def test_items_of_one_prompt_are_a_group() -> None:
    async with trio(ALL) as t:
        items = [Conversation.of(p, r) for p, r in (("P", "a"), ("Q", "b"), ("P", "ccc"))]
        await t.scorer.score(ScoreQuery(tuple(items)))
        agreement = (await t.settled()).agreement
        assert (agreement.num_items, agreement.num_groups, agreement.num_pairs) == (3, 1, 1)


async def test_a_canary_answers_for_its_tenants_alone() -> None:
    async with trio(ShadowPlan(canary_tenants=frozenset({"brave"}))) as t:
        brave = await t.scorer.score(ask(tenant="brave"))
        other = await t.scorer.score(ask(tenant="careful"))
        named = await t.scorer.score(ask(tenant="brave", model=f"{NAME}@{CHAMPION_VERSION}"))
        versions = [r.model.version for r in (brave, other, named)]
        assert versions == [CANDIDATE_VERSION, CHAMPION_VERSION, CHAMPION_VERSION]
        direct = await t.inner.score(ask(model=f"{NAME}@{CANDIDATE_VERSION}"))
        assert brave.scores[0].reward == direct.scores[0].reward


async def test_the_canary_share_is_a_share_of_prompts_and_a_prompt_keeps_its_side() -> None:
    async with trio(ShadowPlan(canary_share=0.3)) as t:

        async def versions() -> list[str]:
            replies = await asyncio.gather(*(t.scorer.score(ask(f"question {i}")) for i in range(400)))
            return [r.model.version for r in replies]

        first = await versions()
        assert first == await versions()
        assert 0.2 < first.count(CANDIDATE_VERSION) / len(first) < 0.4  # five standard errors


async def test_without_a_candidate_nothing_changes() -> None:
    async with trio(ShadowPlan(shadow_share=1.0, canary_share=1.0)) as t:
        t.inner.catalog.point({(NAME, "champion"): CANDIDATE_VERSION})
        assert (await t.scorer.score(ask())).model.version == CANDIDATE_VERSION
        with pytest.raises(UnknownModel):
            await t.scorer.score(ask(model="nobody"))
        await t.scorer.idle()
        assert t.recorded.trials == []


async def test_a_shadow_that_fails_is_counted_and_nothing_else() -> None:
    def broken(spec: ModelSpec) -> LoadedModel:
        model = load(spec)
        return model if spec.source == "good" else replace(model, backend=WeightedSumBackend(float("nan")))

    async with trio(ALL, loader=broken) as t:
        served = await t.scorer.score(ask())
        assert served.model.version == CHAMPION_VERSION
        agreement = (await t.settled()).agreement
        assert (agreement.num_failed, agreement.num_items) == (1, 0)


async def test_a_slow_candidate_holds_nobody_up_and_what_it_cannot_take_is_counted() -> None:
    opened = threading.Event()

    def gated(spec: ModelSpec) -> LoadedModel:
        model = load(spec)
        if spec.source == "good":
            return model
        return replace(model, backend=WeightedSumBackend(before=lambda: opened.wait(30)))

    async with trio(ALL, loader=gated) as t:
        more = 5
        for i in range(MAX_IN_FLIGHT + more):
            assert (await t.scorer.score(ask(f"{i}"))).model.version == CHAMPION_VERSION
        opened.set()
        agreement = (await t.settled()).agreement
        assert (agreement.num_skipped, agreement.num_items) == (more, MAX_IN_FLIGHT)


async def test_a_new_candidate_starts_anew() -> None:
    async with trio(ALL) as t:
        await t.scorer.score(ask())
        first = await t.settled()
        t.inner.catalog.point({(NAME, "champion"): CANDIDATE_VERSION, (NAME, "candidate"): CHAMPION_VERSION})
        await t.scorer.score(ask())
        second = await t.settled()
        assert (first.candidate, second.candidate) == (CANDIDATE_VERSION, CHAMPION_VERSION)
        assert second.agreement.num_items == 1


async def test_where_the_canary_cannot_answer_the_champion_does() -> None:
    def narrow(spec: ModelSpec) -> LoadedModel:
        model = load(spec)
        if spec.source == "good":
            return model
        return replace(model, manifest=replace(model.manifest, profiles={"other": Profile({"quality": 1.0})}))

    async with trio(ShadowPlan(canary_share=1.0), loader=narrow) as t:
        query = replace(ask(), options=Options(profile="both"))
        assert (await t.scorer.score(query)).model.version == CHAMPION_VERSION
        assert (await t.settled()).agreement.num_failed == 1
        with pytest.raises(InvalidInput):
            await t.scorer.score(replace(query, options=Options(profile="neither")))
