"""Best-of-n over fakes: what is chosen, when it stops, what becomes of a policy that dies or stalls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from guerdon_service.bestofn.drawing import Ended, Unscored, drawing
from guerdon_service.core.artifact import LoadedModel, ModelSpec
from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import (
    BackendFailed,
    DeadlineExceeded,
    InvalidInput,
    NotReady,
    Overloaded,
    UnknownModel,
)
from guerdon_service.core.generation import Generated, SamplingParams
from guerdon_service.core.query import Options, ScoreQuery
from guerdon_service.scoring.service import ScoringService
from tests.bestofn.fakes import PROMPT, Scripted, best_of_n, listed, parts, query
from tests.fakes import CodePointEncoder, WeightedSumBackend, manifest, running_service

DEADLINE = Options(deadline_s=0.7)
"""Passes while a policy stalls; every test that uses it is one that waits for it to pass."""


async def rewards(scorer: ScoringService, *texts: str, prompt: tuple[Message, ...] = PROMPT) -> list[float]:
    """As ``/v1/score`` gives them."""
    result = await scorer.score(ScoreQuery(tuple(Conversation(prompt, t) for t in texts)))
    return [s.reward for s in result.scores]


async def test_the_best_is_chosen_and_scores_are_those_of_score(scorer: ScoringService) -> None:
    texts = ("aa", "zz", "mm", "b")
    candidates, result = await parts(best_of_n(scorer, listed(*texts)), query(4))
    assert result.best == 1
    assert [c.score.reward for c in result.candidates] == await rewards(scorer, *texts)  # bit for bit
    assert sorted(candidates, key=lambda c: c.generated.index) == list(result.candidates)
    assert (result.policy, result.model.name, result.model.version) == ("p", "fake", "1")
    assert not (result.abstained or result.partial or result.stopped_early)


async def test_run_is_the_end_of_the_stream(scorer: ScoringService) -> None:
    service = best_of_n(scorer, listed("aa", "zz"))
    assert (await service.run(query(2))).best == 1


async def test_candidates_are_scored_while_others_are_still_being_written(scorer: ScoringService) -> None:
    go_on = asyncio.Event()
    service = best_of_n(scorer, Scripted((1, "b"), go_on, (0, "a")))
    async with aclosing(service.stream(query(2))) as stream:  # type: ignore[type-var]
        first = await anext(stream)
        assert first.generated.index == 1  # type: ignore[union-attr]
        go_on.set()
        assert [c.generated.index async for c in stream if not hasattr(c, "best")] == [0]


async def test_the_order_of_arrival_changes_nothing(scorer: ScoringService) -> None:
    texts = list(enumerate(["aa", "zz", "mm", "zz"]))
    for asked in (query(4), query(4, choice_temperature=5.0), query(4, patience=1)):
        results = [
            await best_of_n(scorer, Scripted(*order)).run(asked)
            for order in (texts, texts[::-1], texts[2:] + texts[:2])
        ]
        assert len({r.best for r in results}) == 1
        assert len({tuple(c.score.reward for c in r.candidates) for r in results}) == 1


async def test_equal_texts_are_scored_once(scorer: ScoringService) -> None:
    scored: list[str] = []

    class Counting:
        models, model = staticmethod(scorer.models), staticmethod(scorer.model)

        async def score(self, asked: ScoreQuery) -> Any:
            scored.extend(item.response for item in asked.items)
            return await scorer.score(asked)

    _, result = await parts(best_of_n(Counting(), listed("a", "z", "a", "a")), query(4))  # type: ignore[arg-type]
    assert sorted(scored) == ["a", "z"]
    assert [c.duplicate_of for c in result.candidates] == [None, None, 0, 0]
    assert result.candidates[0].score == result.candidates[3].score


async def test_the_bounds_are_those_of_n(scorer: ScoringService) -> None:
    _, result = await parts(best_of_n(scorer, listed("a", "b", "c", "d")), query(4))
    assert result.kl_upper_bound == pytest.approx(0.63629, abs=1e-5)
    assert result.expected_win_rate == 0.8


@pytest.mark.parametrize(("share", "best"), [(0.0, 1), (0.99, 1), (1.01, None)])
async def test_it_abstains_below_the_margin(scorer: ScoringService, share: float, best: int | None) -> None:
    """`share` of the lead of z over a; the second z does not count as the second best."""
    low, high = await rewards(scorer, "a", "z")
    result = await best_of_n(scorer, listed("a", "z", "z")).run(query(3, min_margin=share * (high - low)))
    assert (result.best, result.abstained) == (best, best is None)


async def test_one_distinct_text_never_abstains(scorer: ScoringService) -> None:
    result = await best_of_n(scorer, listed("a", "a")).run(query(2, min_margin=100.0))
    assert result.best == 0


async def test_patience_stops_the_policy(scorer: ScoringService) -> None:
    never = asyncio.Event()
    policy = Scripted((0, "m"), (1, "z"), (2, "a"), (3, "b"), never)
    _, result = await parts(best_of_n(scorer, policy), query(8, patience=2))
    assert result.stopped_early and not result.partial
    assert (result.best, len(result.candidates)) == (1, 4)
    assert policy.stopped.is_set()


async def test_patience_counts_by_index_not_by_arrival(scorer: ScoringService) -> None:
    never = asyncio.Event()
    policy = Scripted((6, "y"), (3, "b"), (2, "a"), (0, "m"), (1, "z"), never)
    candidates, result = await parts(best_of_n(scorer, policy), query(8, patience=2))
    assert [c.generated.index for c in candidates] == [0, 1, 2, 3]
    assert (result.best, result.stopped_early) == (1, True)


async def test_patience_that_never_runs_out_changes_nothing(scorer: ScoringService) -> None:
    texts = ("a", "b", "c", "d")
    patient = await best_of_n(scorer, listed(*texts)).run(query(4, patience=1))
    assert (patient.best, patient.stopped_early) == (3, False)


async def test_a_policy_that_stalls_gives_the_best_of_what_arrived(scorer: ScoringService) -> None:
    policy = Scripted((2, "z"), (0, "a"), asyncio.Event())
    result = await best_of_n(scorer, policy).run(query(4, options=DEADLINE))
    assert (result.best, result.partial, result.stopped_early) == (2, True, False)
    assert [c.generated.index for c in result.candidates] == [0, 2]
    assert policy.stopped.is_set()


async def test_with_patience_a_stall_counts_what_was_held_back(scorer: ScoringService) -> None:
    policy = Scripted((2, "z"), (0, "a"), asyncio.Event())
    candidates, result = await parts(best_of_n(scorer, policy), query(4, patience=3, options=DEADLINE))
    assert [c.generated.index for c in candidates] == [0, 2]
    assert (result.best, result.partial) == (2, True)


@pytest.mark.parametrize("error", [BackendFailed("it died"), RuntimeError("secret")])
async def test_a_policy_that_dies_gives_the_best_of_what_arrived(
    scorer: ScoringService, error: Exception
) -> None:
    _, result = await parts(best_of_n(scorer, Scripted((1, "z"), (3, "a"), error)), query(4))
    assert (result.best, result.partial) == (1, True)


async def test_a_policy_that_ends_too_soon_is_partial(scorer: ScoringService) -> None:
    result = await best_of_n(scorer, listed("a", "b")).run(query(4))
    assert (result.best, result.partial) == (1, True)


async def test_nothing_by_the_deadline_is_an_error(scorer: ScoringService) -> None:
    with pytest.raises(DeadlineExceeded, match="deadline_ms passed before one candidate"):
        await best_of_n(scorer, Scripted(asyncio.Event())).run(query(4, options=DEADLINE))


async def test_a_policy_that_dies_before_anything_arrived_is_its_error(scorer: ScoringService) -> None:
    with pytest.raises(BackendFailed, match="it died"):
        await best_of_n(scorer, Scripted(BackendFailed("it died"))).run(query(4))
    with pytest.raises(BackendFailed) as caught:
        await best_of_n(scorer, Scripted(RuntimeError("secret"))).run(query(4))
    assert "secret" not in caught.value.message
    with pytest.raises(BackendFailed, match="gave no response"):
        await best_of_n(scorer, Scripted()).run(query(4))


class Busy(Scripted):
    """Has no room for two requests, and then it has."""

    retry_after_ms = 10

    async def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncIterator[Generated]:
        async for generated in super().generate(prompt, n, params):
            if len(self.asked) <= 2:
                raise Overloaded("no room", retry_after_ms=self.retry_after_ms)
            yield generated


async def test_a_policy_without_room_is_asked_again_until_the_deadline(scorer: ScoringService) -> None:
    policy = Busy((0, "a"), (1, "b"))
    assert len((await best_of_n(scorer, policy).run(query(2))).candidates) == 2
    assert len(policy.asked) == 3
    policy = Busy((0, "a"))
    policy.retry_after_ms = 60_000
    with pytest.raises(Overloaded) as refused:
        await best_of_n(scorer, policy).run(query(1, options=Options(deadline_s=59.0)))
    assert (refused.value.retry_after_ms, len(policy.asked)) == (60_000, 1)


async def test_empty_and_unfitting_responses_are_left_out(scorer: ScoringService) -> None:
    texts = ("", "a", "x" * 100, "z", "")
    candidates, result = await parts(best_of_n(scorer, listed(*texts)), query(5))
    assert [c.generated.index for c in result.candidates] == [1, 3]
    assert (result.best, result.partial) == (3, False)
    assert len(candidates) == 2


async def test_only_empty_responses_are_an_error(scorer: ScoringService) -> None:
    with pytest.raises(InvalidInput, match="are empty"):
        await best_of_n(scorer, listed("", "")).run(query(2))


async def test_a_model_that_fails_is_its_error() -> None:
    def fail() -> None:
        raise RuntimeError

    def load(spec: ModelSpec) -> LoadedModel:
        return LoadedModel(spec, manifest(spec.name), CodePointEncoder(), WeightedSumBackend(before=fail))

    async with running_service(load=load) as broken:
        policy = Scripted((0, "a"), asyncio.Event())
        with pytest.raises(BackendFailed):
            await best_of_n(broken, policy).run(query(2))
        assert policy.stopped.is_set()


async def test_a_reader_that_leaves_stops_the_policy(scorer: ScoringService) -> None:
    policy = Scripted((0, "a"), asyncio.Event())
    async with aclosing(best_of_n(scorer, policy).stream(query(2))) as stream:  # type: ignore[type-var]
        await anext(stream)
    assert policy.stopped.is_set()


async def test_a_cancelled_call_stops_the_policy(scorer: ScoringService) -> None:
    arrived, policy = asyncio.Event(), Scripted((0, "a"), asyncio.Event())

    async def read() -> None:
        async for _ in best_of_n(scorer, policy).stream(query(2)):
            arrived.set()

    task = asyncio.create_task(read())
    await arrived.wait()
    task.cancel()
    await asyncio.wait([task])
    assert policy.stopped.is_set()


async def test_unknown_names_are_refused_before_a_token_is_sampled(scorer: ScoringService) -> None:
    policy = listed("a")
    service = best_of_n(scorer, policy)
    assert service.policies() == ("p",)
    with pytest.raises(UnknownModel, match="policy 'q' is unknown; use one of: p"):
        await service.run(type(query(1))("q", PROMPT, 1))
    with pytest.raises(UnknownModel):
        await service.run(query(1, options=Options(model="none")))
    with pytest.raises(InvalidInput, match="profile"):
        await service.run(query(1, options=Options(profile="none")))
    assert policy.asked == []


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("n", {"n": 0}),
        ("n", {"n": 257}),
        ("max_tokens", {"max_tokens": 0}),
        ("temperature", {"temperature": -0.1}),
        ("temperature", {"temperature": float("nan")}),
        ("top_p", {"top_p": 0.0}),
        ("top_p", {"top_p": 1.1}),
        ("conservatism", {"conservatism": -1.0}),
        ("choice_temperature", {"choice_temperature": float("inf")}),
        ("min_margin", {"min_margin": -1.0}),
        ("patience", {"patience": -1}),
        ("deadline_ms", {"options": Options(deadline_s=0.0)}),
        ("prompt", {"prompt": ()}),
    ],
)
async def test_fields_out_of_range_are_refused_by_name(
    scorer: ScoringService, param: str, fields: dict[str, Any]
) -> None:
    asked, params = (
        query(1),
        {k: fields.pop(k) for k in ("max_tokens", "temperature", "top_p") if k in fields},
    )
    asked = replace(asked, params=replace(asked.params, **params), **fields)
    with pytest.raises(InvalidInput) as caught:
        await best_of_n(scorer, listed("a")).run(asked)
    assert caught.value.param == param


async def test_all_candidates_are_scored_by_one_version(scorer: ScoringService) -> None:
    asked_of: list[str | None] = []

    class Recording:
        models, model = staticmethod(scorer.models), staticmethod(scorer.model)

        async def score(self, asked: ScoreQuery) -> Any:
            asked_of.append(asked.options.model)
            return await scorer.score(asked)

    await best_of_n(Recording(), listed("a", "b")).run(query(2))  # type: ignore[arg-type]
    assert asked_of == ["fake@1", "fake@1"]


async def test_an_ensemble_that_changes_meanwhile_is_no_choice(scorer: ScoringService) -> None:
    """No version pins it; candidates on two scales must not be compared."""

    class Promoting:
        models, model = staticmethod(scorer.models), staticmethod(scorer.model)

        async def score(self, asked: ScoreQuery) -> Any:
            result = await scorer.score(asked)
            (item,) = asked.items
            return replace(result, model=replace(result.model, digest=f"digest-{item.response == 'z'}"))

    service = best_of_n(Promoting(), listed("a", "b", "z"))  # type: ignore[arg-type]
    with pytest.raises(NotReady, match="became another"):
        await service.run(query(3))
    assert (await best_of_n(Promoting(), listed("a", "b")).run(query(2))).best == 1  # type: ignore[arg-type]


async def test_a_defect_leaves_no_candidate_without_an_outcome() -> None:
    class Defective:
        async def score(self, asked: ScoreQuery) -> Any:
            raise RuntimeError("a defect")

    asked, seen = query(3), []
    async with (
        asyncio.timeout(30),
        drawing(Defective(), listed("a", "a", "a"), asked, asked.options) as outcomes,  # type: ignore[arg-type]
    ):
        while not isinstance(outcome := await outcomes.get(), Ended):
            assert isinstance(outcome, Unscored) and isinstance(outcome.error, BackendFailed)
            seen.append(outcome.index)
    assert sorted(seen) == [0, 1, 2]


async def test_closing_closes_the_policies(scorer: ScoringService) -> None:
    policy = listed("a")
    await best_of_n(scorer, policy).close()
    assert policy.closed
