"""An evaluation of policies while it goes on: what is told, how many a tenant has, and how it is left."""

import asyncio
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise

import pytest

from guerdon_service.bestofn.samples import PROMPTS_AT_ONCE
from guerdon_service.core.errors import Overloaded
from guerdon_service.core.policy_evaluation import (
    PolicyEvaluation,
    PolicyEvaluationProgress,
    PolicyEvaluationQuery,
)
from guerdon_service.core.query import Options
from guerdon_service.scoring.service import ScoringService
from tests.bestofn.fakes import Scripted, listed
from tests.bestofn.test_policy_evaluation import ASKED, service


async def test_progress_is_told_step_by_step_and_ends_with_the_result(scorer: ScoringService) -> None:
    query = PolicyEvaluationQuery(("p", "q"), ASKED[:5], baseline="q")
    parts = [p async for p in service(scorer, listed("a"), listed("b")).stream(query)]
    steps = [p for p in parts if isinstance(p, PolicyEvaluationProgress)]
    assert (steps[0].done, steps[-1]) == (0, PolicyEvaluationProgress(10, 10))
    assert all(a.done < b.done for a, b in pairwise(steps))
    assert isinstance(parts[-1], PolicyEvaluation)
    assert [p.policy for p in parts[-1].policies] == ["p", "q"]
    assert parts[-1].policies[1].win_rate is not None and parts[-1].policies[1].win_rate.raw.value == 0.5


async def test_each_tenant_has_one_at_work(scorer: ScoringService) -> None:
    evaluator = service(scorer, Scripted(asyncio.Event()))
    asked = PolicyEvaluationQuery(("p",), ASKED[:1], n=1)
    by_another = replace(asked, options=Options(tenant="another"))
    async with aclosing(evaluator.stream(asked)) as first, aclosing(evaluator.stream(by_another)) as other:  # type: ignore[type-var]
        await anext(first)
        await anext(other)
        with pytest.raises(Overloaded) as refused:
            await evaluator.run(asked)
        assert refused.value.retry_after_ms
    async with aclosing(evaluator.stream(asked)) as again:  # type: ignore[type-var]
        await anext(again)


async def test_who_is_cancelled_twice_may_ask_again(scorer: ScoringService) -> None:
    waiting = Scripted(asyncio.Event())
    evaluator, asked = service(scorer, waiting), PolicyEvaluationQuery(("p",), ASKED)
    for num_turns in range(8):
        stream = evaluator.stream(asked)
        await anext(stream)
        going = asyncio.ensure_future(anext(stream))
        while not waiting.asked:
            await asyncio.sleep(0)
        going.cancel()
        for _ in range(num_turns):
            await asyncio.sleep(0)
        going.cancel()
        await asyncio.gather(going, return_exceptions=True)
        await waiting.stopped.wait()
        waiting.asked.clear()
        waiting.stopped.clear()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not evaluator._at_work


async def test_leaving_the_stream_stops_the_policy(scorer: ScoringService) -> None:
    waiting = Scripted(asyncio.Event())
    stream = service(scorer, waiting).stream(PolicyEvaluationQuery(("p",), ASKED))
    await anext(stream)
    going = asyncio.ensure_future(anext(stream))
    while not waiting.asked:
        await asyncio.sleep(0)
    going.cancel()
    await asyncio.gather(going, return_exceptions=True)
    await waiting.stopped.wait()
    assert len(waiting.asked) <= PROMPTS_AT_ONCE
