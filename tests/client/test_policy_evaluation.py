"""`evaluate_policy` of the client: retried while nothing was done, and patient as long as there is news."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

import guerdon
from guerdon import AsyncClient, MockTransport, PolicyPrompt
from guerdon.transport import Payload, Verb
from tests.client.conftest import FakeClock

FIGURE = {"value": 0.5, "low": 0.25, "high": 0.75}
MODEL = {"name": "m", "version": "1", "digest": "d", "profile": "p", "backend": "b", "dtype": "float32"}
RESULT: Payload = {
    "model": MODEL,
    "baseline": "",
    "reference": "",
    "judge": "",
    "num_prompts": 1,
    "n": 1,
    "seed": 0,
    "policies": [
        {
            "policy": "p",
            "digest": "",
            "reward": FIGURE,
            "reward_variance": 0.0,
            "mean_chars": 3.0,
            "ended_rate": 1.0,
            "unscored_rate": 0.0,
            "kl_absent": "no reference was named",
            "best_of_n": [],
        }
    ],
    "over_optimisation": [],
    "total_ms": 1.0,
    "request_id": "r",
}


class Parts:
    """Each attempt yields its script: a number of steps done, a part as it is, an error to raise, or a wait
    without end.
    """

    def __init__(self, *scripts: list[int | Payload | Exception | None]) -> None:
        self.scripts = list(scripts)
        self.asked: list[Payload] = []

    async def call(self, verb: Verb, payload: Payload, timeout_s: float) -> Payload:
        raise AssertionError("its progress is wanted")

    async def stream(self, verb: Verb, payload: Payload, timeout_s: float | None) -> AsyncGenerator[Payload]:
        assert (verb, timeout_s) == ("evaluate_policy", None)
        self.asked.append(payload)
        for step in self.scripts.pop(0):
            if isinstance(step, Exception):
                raise step
            if step is None:
                await asyncio.Event().wait()
            if isinstance(step, dict):
                yield step
                continue
            yield {"progress": {"done": step, "total": 3}}
            yield {"a newer service's": "news"}
        yield {"result": RESULT}

    async def close(self) -> None:
        pass


async def evaluated(transport: Any, fake: FakeClock, **options: Any) -> tuple[Any, list[int]]:
    told: list[int] = []
    async with AsyncClient(transport, clock=fake.clock, **options) as client:
        found = await client.evaluate_policy("p", ["one"], on_progress=lambda p: told.append(p.done))
    return found, told


async def test_what_is_left_out_is_none(fake: FakeClock) -> None:
    found, told = await evaluated(Parts([0, 3]), fake)
    (report,) = found.policies
    assert (report.reward.high, report.win_rate, report.kl, report.mean_tokens) == (0.75, None, None, None)
    assert (found.gold, found.baseline_reward, told) == (None, None, [0, 3])


async def test_an_attempt_is_repeated_while_no_step_was_done(fake: FakeClock) -> None:
    transport = Parts([guerdon.NotReady("loading")], [0, guerdon.ConnectionFailed("lost")], [0, 3])
    assert (await evaluated(transport, fake))[1] == [0, 0, 3]
    assert len(fake.slept) == 2
    with pytest.raises(guerdon.ConnectionFailed):
        await evaluated(Parts([0, 1, guerdon.ConnectionFailed("lost")], [0, 3]), fake)


async def test_silence_ends_it_and_news_does_not(fake: FakeClock) -> None:
    with pytest.raises(guerdon.DeadlineExceeded, match="no news within"):
        await evaluated(Parts([0, None]), fake, timeout_s=0.2)


async def test_silence_after_the_result_takes_nothing_away(fake: FakeClock) -> None:
    transport = Parts([0, 3, {"result": RESULT}, None])
    assert (await evaluated(transport, fake, timeout_s=0.2))[0].num_prompts == 1


async def test_the_request_is_rests(fake: FakeClock) -> None:
    transport = Parts([])
    async with AsyncClient(transport, clock=fake.clock) as client:
        chat = [{"role": "user", "content": "q"}]
        await client.evaluate_policy(["a", "b"], [PolicyPrompt("p", "r"), chat], n=2, gold="g")
        for wrong in ("p", [5], [PolicyPrompt("p", "\ud800")]):
            with pytest.raises(guerdon.InvalidInput):
                await client.evaluate_policy("a", wrong)  # type: ignore[arg-type]
    prompts = [{"prompt": "p", "baseline_response": "r"}, {"messages": chat}]
    assert transport.asked == [{"policies": ["a", "b"], "prompts": prompts, "n": 2, "gold": "g"}]


async def test_the_mock_transport_answers_it_too(fake: FakeClock) -> None:
    assert (await evaluated(MockTransport(lambda verb, payload: RESULT), fake))[0].num_prompts == 1
