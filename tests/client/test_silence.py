"""The service's silence is bounded and counted; a callback's `TimeoutError` is the caller's own."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import guerdon
from guerdon import AsyncClient, MockTransport, reward_handler
from guerdon.transport import Payload, Verb
from tests.client.conftest import FakeClock
from tests.client.stub import stub_reward
from tests.client.test_policy_evaluation import Parts


def evaluation(state: str, done: int = 0) -> Payload:
    told = {"id": "e1", "state": state, "done": done, "total": 3, "candidate": "m@1", "created_at": 0.0}
    digests = dict.fromkeys(("candidate_digest", "dataset", "dataset_sha256"), "d")
    return told | digests | dict.fromkeys(("baseline", "baseline_digest", "error", "report"))


class Streams:
    """Each stream yields its script: an evaluation, or a wait without end."""

    def __init__(self, *scripts: list[Payload | None]) -> None:
        self.scripts = list(scripts)

    async def call(self, verb: Verb, payload: Payload, timeout_s: float) -> Payload:
        raise AssertionError("it is followed")

    async def stream(self, verb: Verb, payload: Payload, timeout_s: float | None) -> AsyncGenerator[Payload]:
        for part in self.scripts.pop(0):
            if part is None:
                await asyncio.Event().wait()
            else:
                yield part

    async def close(self) -> None:
        pass


async def followed(fake: FakeClock, *scripts: list[Payload | None], max_retries: int) -> guerdon.Evaluation:
    transport = Streams(*scripts)
    client = AsyncClient(transport, clock=fake.clock, timeout_s=0.05, max_retries=max_retries)
    async with client:
        return await client.follow_evaluation("e1")


async def test_a_service_that_says_nothing_at_all_is_given_up(fake: FakeClock) -> None:
    with pytest.raises(guerdon.ConnectionFailed, match="nothing came within"):
        await followed(fake, [None], [None], [None], max_retries=2)
    assert len(fake.slept) == 2


async def test_silence_between_news_is_no_failure(fake: FakeClock) -> None:
    slow: list[Payload | None] = [evaluation("running", 1), None]
    ended = await followed(fake, slow, slow, slow, [evaluation("done", 3)], max_retries=0)
    assert (ended.state, fake.slept) == ("done", [])


async def test_an_end_before_the_evaluations_is_a_failure(fake: FakeClock) -> None:
    with pytest.raises(guerdon.ConnectionFailed, match="ended before"):
        await followed(fake, [evaluation("running")], [], max_retries=1)
    assert len(fake.slept) == 1


def own(*_: object) -> None:
    raise TimeoutError("the callback's own")


async def test_what_a_callback_raises_is_the_callers(fake: FakeClock) -> None:
    answer = reward_handler(stub_reward)
    (score,) = answer("score", {"items": [{"prompt": "p", "response": "r"}]})["scores"]
    candidate = {"index": 0, "response": "r", "finish_reason": "stop", "score": score}
    calls: dict[str, tuple[Any, Any]] = {
        "best_of_n": (
            MockTransport(lambda verb, payload: {"candidates": [candidate]}),
            lambda client: client.best_of_n("p", "q", 1, on_candidate=own),
        ),
        "evaluate_policy": (Parts([0]), lambda client: client.evaluate_policy("p", ["q"], on_progress=own)),
        "follow_evaluation": (
            Streams([evaluation("running")]),
            lambda client: client.follow_evaluation("e1", on_progress=own),
        ),
    }
    for name, (transport, call) in calls.items():
        async with AsyncClient(transport, clock=fake.clock) as client:
            with pytest.raises(TimeoutError, match="own"):
                await call(client)
        assert fake.slept == [], name


async def test_a_report_is_asked_for_again(fake: FakeClock) -> None:
    """It changes nothing."""
    answers: list[Any] = [guerdon.NotReady("loading"), {"report": "### report"}]

    def handle(verb: Verb, payload: Payload) -> Payload:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    async with AsyncClient(MockTransport(handle), clock=fake.clock) as client:
        assert await client.evaluation_report("e1", "markdown") == "### report"
