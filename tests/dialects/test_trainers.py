"""OpenRLHF's, slime's and miles' clients, replayed byte for byte."""

import asyncio
import json

import pytest

from guerdon_service.core.limits import Limits
from tests.contract.harness import Gate, Served, Watching, served
from tests.dialects.conftest import PROMPT, RESPONSES, Rewards

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"content-type": "application/json"}
CHATML = "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


async def openrlhf(running: Served, query: list[str], prompts: list[str]) -> dict[str, list[float]]:
    """As ``openrlhf/utils/agent.py`` posts, and as its sample generator reads."""
    body = json.dumps({"query": query, "prompts": prompts, "labels": [None] * len(query)})
    reply = await running.rest.post("/get_reward", content=body, headers=JSON)
    assert reply.status_code == 200, reply.text
    data: dict[str, list[float]] = reply.json()
    assert all(isinstance(v, float | int) for values in data["extra_logs"].values() for v in values)  # type: ignore[attr-defined]
    return data


@pytest.mark.parametrize("end", ["", "<|im_end|>", "</s>"])
async def test_openrlhf_plain_prompt(running: Served, rewards: Rewards, end: str) -> None:
    asked = [await openrlhf(running, [PROMPT + r + end], [PROMPT]) for r in RESPONSES]
    expected = await rewards()
    assert [reply["rewards"] for reply in asked] == [[pytest.approx(r, abs=1e-6)] for r in expected]
    assert [reply["scores"] for reply in asked] == [reply["rewards"] for reply in asked]


async def test_openrlhf_rendered_prompt(running: Served, rewards: Rewards) -> None:
    prompt = CHATML.format(prompt=PROMPT)
    queries = [f"{prompt}{r}<|im_end|>\n" for r in RESPONSES]
    expected = pytest.approx(await rewards(), abs=1e-6)
    assert (await openrlhf(running, queries, [prompt] * 3))["rewards"] == expected
    assert (await openrlhf(running, queries, []))["rewards"] == expected


async def test_openrlhf_shards_with_nothing(running: Served) -> None:
    assert await openrlhf(running, [], []) == {"rewards": [], "scores": [], "extra_logs": {}}


async def test_openrlhf_refuses_what_it_cannot_tell_apart(running: Served) -> None:
    reply = await running.rest.post("/get_reward", json={"query": ["one text"]})
    assert reply.status_code == 422
    assert set(reply.json()) == {"detail"}
    assert "query[0]" in reply.json()["detail"]


@pytest.mark.parametrize("path", ["/reward", "/slime/reward"])
@pytest.mark.parametrize(
    "prompt", [PROMPT, CHATML.format(prompt=PROMPT), [{"role": "user", "content": PROMPT}]]
)
async def test_slime(running: Served, rewards: Rewards, path: str, prompt: object) -> None:
    """As ``slime/rollout/rm_hub`` posts; it takes the reply itself as the reward."""
    replies = [
        await running.rest.post(path, json={"prompt": prompt, "response": r + "<|im_end|>", "label": "Paris"})
        for r in RESPONSES
    ]
    assert [reply.json() for reply in replies] == pytest.approx(await rewards(), abs=1e-6)


async def test_slime_error(running: Served) -> None:
    reply = await running.rest.post("/reward", json={"prompt": PROMPT, "response": 5})
    assert (reply.status_code, set(reply.json())) == (422, {"detail"})


class Refusals(Watching):
    """Counts what the queue refused."""

    num_refused = 0

    def refused(self, model: str, code: str) -> None:
        super().refused(model, code)
        self.num_refused += 1
        self._changed.set()


async def test_full_queue_holds_the_client(rewards: Rewards) -> None:
    """One in the forward, one in the queue, the third is held until there is room."""
    gate, watching = Gate(), Refusals()
    limits = Limits(max_queued_tokens=40, max_batch_tokens=40)
    async with served(load=gate.load, limits=limits, observer=watching, dialects=("slime",)) as it:
        try:
            first = asyncio.create_task(it.rest.post("/reward", json={"prompt": PROMPT, "response": "one"}))
            await gate.until_entered()
            others = [
                asyncio.create_task(it.rest.post("/reward", json={"prompt": PROMPT, "response": r}))
                for r in RESPONSES
            ]
            await watching.until(lambda: watching.num_refused >= 2)
        finally:
            gate.opened.set()
        replies = await asyncio.gather(first, *others)
    assert [reply.status_code for reply in replies] == [200] * 4
    assert [reply.json() for reply in replies[1:]] == pytest.approx(await rewards(), abs=1e-6)


async def test_full_queue_past_the_deadline() -> None:
    gate, watching = Gate(), Refusals()
    limits = Limits(max_queued_tokens=40, max_batch_tokens=40, default_deadline_s=0.3)
    async with served(load=gate.load, limits=limits, observer=watching, dialects=("slime",)) as it:
        try:
            replies = await asyncio.gather(
                *(it.rest.post("/reward", json={"prompt": PROMPT, "response": r}) for r in RESPONSES)
            )
        finally:
            gate.opened.set()
    assert {reply.status_code for reply in replies} <= {429, 504}
    assert all(set(reply.json()) == {"detail"} for reply in replies)
