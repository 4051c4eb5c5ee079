"""Evaluations of policies over REST: events, statuses, and what is refused."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from guerdon_service.bestofn.policy_service import PolicyEvaluationService
from guerdon_service.core.conversation import Message
from guerdon_service.core.generation import Generated, SamplingParams
from guerdon_service.core.limits import Limits
from tests.contract.harness import Served, Watching, served
from tests.contract.test_contract import comparable
from tests.fakes import running_service
from tests.rest.test_decisions import events

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/v1/policy-evaluations"
BODY: dict[str, Any] = {
    "policies": ["echo", "smollm2"],
    "baseline": "smollm2",
    "prompts": [{"prompt": "p"}, {"messages": [{"role": "user", "content": "q"}]}, {"prompt": "r"}],
    "n": 2,
}


async def test_a_stream_tells_what_the_reply_tells(running: Served) -> None:
    whole = await running.rest.post(PATH, json=BODY)
    assert whole.status_code == 200, whole.text
    streamed = await running.rest.post(PATH, json=BODY | {"stream": True})
    assert streamed.headers["content-type"] == "text/event-stream; charset=utf-8"
    *progress, (name, result) = events(streamed.text)
    assert {n for n, _ in progress} == {"progress"} and name == "result"
    assert (progress[0][1], progress[-1][1]) == ({"done": 0, "total": 6}, {"done": 6, "total": 6})
    assert comparable(result) == comparable(whole.json())
    assert result["policies"][1]["win_rate"]["raw"]["value"] == 0.5


async def test_a_refusal_has_its_status_before_the_stream_begins(running: Served) -> None:
    response = await running.rest.post(PATH, json=BODY | {"stream": True, "policies": ["nobody"]})
    assert (response.status_code, response.json()["error"]["param"]) == (404, "policies")


class Waiting:
    """A policy whose first response never comes."""

    name, digest = "w", ""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncGenerator[Generated]:
        try:
            await asyncio.Event().wait()
            yield Generated(0, "", 0, "stop")
        finally:
            self.left.set()

    async def close(self) -> None:
        pass


async def test_a_client_that_leaves_ends_the_work() -> None:
    observer, policy = Watching(), Waiting()
    async with running_service() as scorer:
        service = PolicyEvaluationService(scorer, lambda name: policy, Limits())
        async with served(policy_evaluator=service, observer=observer) as it:
            async with it.rest.stream("POST", PATH, json=BODY | {"stream": True}) as response:
                assert (await anext(response.aiter_lines())) == "event: progress"
            await observer.until(lambda: "cancelled" in observer.codes)
            async with asyncio.timeout(30):
                await policy.left.wait()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no policies": ({"policies": None}, "policies"),
    "a name": ({"policies": "echo"}, "policies"),
    "a number": ({"policies": [1]}, "policies[0]"),
    "surrogate": ({"policies": ["\ud800"]}, "policies[0]"),
    "no prompts": ({"prompts": None}, "prompts"),
    "a text": ({"prompts": ["p"]}, "prompts[0]"),
    "no prompt": ({"prompts": [{"prompt": "p"}, {}]}, "prompts[1].prompt"),
    "unknown field": ({"prompts": [{"prompt": "p", "answer": "a"}]}, "prompts[0].answer"),
    "a number to beat": (
        {"prompts": [{"prompt": "p", "baseline_response": 1}]},
        "prompts[0].baseline_response",
    ),
    "n a text": ({"n": "2"}, "n"),
    "lane": ({"lane": "bulk"}, "lane"),
    "deadline": ({"deadline_ms": 5}, "deadline_ms"),
    "judge a list": ({"judge": []}, "judge"),
    "stream a text": ({"stream": "yes"}, "stream"),
    "seed": ({"seed": 1.5}, "seed"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_body(running: Served, case: str) -> None:
    changed, param = BAD[case]
    content = json.dumps(BODY | changed)
    response = await running.rest.post(PATH, content=content, headers={"content-type": "application/json"})
    error = response.json()["error"]
    assert (response.status_code, error["code"], error["param"]) == (422, "invalid_input", param)
