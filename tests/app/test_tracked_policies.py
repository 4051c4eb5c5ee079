"""Evaluations of policies are calls like any other: a drain refuses them, and keys pay for what they ask."""

import pytest

from guerdon_service.app.inflight import InFlight
from guerdon_service.app.tracked import tracked
from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import NotReady, RateLimited
from guerdon_service.core.generation import SamplingParams
from guerdon_service.core.policy_evaluation import PolicyEvaluation, PolicyEvaluationQuery, PolicyPrompt
from guerdon_service.core.query import Options
from guerdon_service.core.rate import KeyLimits
from guerdon_service.quota.limiter import Limiter
from guerdon_service.quota.local_buckets import LocalBuckets
from tests.domain_fakes import services_of
from tests.fakes import running_service

PROMPTS = tuple(PolicyPrompt((Message("user", "x" * 40),)) for _ in range(5))
QUERY = PolicyEvaluationQuery(
    ("echo",),
    PROMPTS,
    n=2,
    params=SamplingParams(max_tokens=10),
    baseline="smollm2",
    options=Options(tenant="t"),
)
COST = 2 * 2 * 5 * (10 + 10)
"""Two policies, two responses, five prompts of forty characters, ten tokens of a response."""


@pytest.mark.parametrize("stream", [False, True])
async def test_a_key_pays_for_every_response_of_every_policy(stream: bool) -> None:
    limits = {"t": KeyLimits(tokens_per_minute=2 * COST)}
    limiter = Limiter(limits, local=LocalBuckets(lambda: 0.0))
    async with running_service() as scorer:
        evaluator = tracked(services_of(scorer), InFlight(), limiter).policy_evaluator
        for _ in range(2):
            if stream:
                parts = [part async for part in evaluator.stream(QUERY)]
                assert isinstance(parts[-1], PolicyEvaluation)
            else:
                await evaluator.run(QUERY)
        with pytest.raises(RateLimited):
            await evaluator.run(QUERY)


async def test_a_draining_service_refuses_and_waits_for_those_under_way() -> None:
    calls = InFlight()
    async with running_service() as scorer:
        evaluator = tracked(services_of(scorer), calls, Limiter({})).policy_evaluator
        under_way = evaluator.stream(QUERY)
        await anext(under_way)
        calls.begin_drain()
        with pytest.raises(NotReady):
            await evaluator.run(QUERY)
        assert isinstance([part async for part in under_way][-1], PolicyEvaluation)
        await calls.idle()
