"""OpenRLHF's own client: its rollout executor with a real tokenizer, against a service that listens.

Only the engine that would generate is made up. The package's other modules need what no CPU has, so its
folders are found without running their ``__init__``. Its wheels stop at Python 3.12; `test_trainers` replays
its bytes on every Python.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from guerdon_service.core.limits import Limits
from tests.contract.harness import Gate, Served, served
from tests.dialects.conftest import PROMPT, RESPONSES, Rewards
from tests.dialects.test_trainers import Refusals
from tests.tiny import tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def agent() -> Iterator[Any]:
    """The module ``openrlhf.utils.agent``."""
    if sys.version_info >= (3, 13):
        pytest.skip("openrlhf 0.11.2, which make setup installs, is for Python before 3.13")
    found = find_spec("openrlhf")
    assert found is not None and found.submodule_search_locations is not None, "make setup installs it"
    root = Path(found.submodule_search_locations[0])
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in (("openrlhf", root), ("openrlhf.utils", root / "utils")):
            bare = ModuleType(name)
            bare.__path__ = [str(folder)]
            patch.setitem(sys.modules, name, bare)
        yield import_module("openrlhf.utils.agent")
        for name in [name for name in sys.modules if name.startswith("openrlhf.utils.")]:
            patch.delitem(sys.modules, name)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real() -> AsyncIterator[Served]:
    torch.set_num_threads(1)
    spec = ModelSpec("tiny", str(tiny("llama")))
    async with served(spec, load=load_model, dialects=("openrlhf",)) as it:
        yield it


class Engine:
    """Generates what it is told to, ended as a chat model ends."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, response: str) -> None:
        ids = tokenizer.encode(f"{response}<|eot_id|>", add_special_tokens=False)
        self._output = SimpleNamespace(token_ids=ids, finish_reason="stop", logprobs=None)

    async def generate(self, prompt_token_ids: list[int], params: object, **_: object) -> Any:
        return SimpleNamespace(outputs=[self._output])


async def test_a_rollout_gets_its_reward(agent: Any, real: Served) -> None:
    tokenizer = AutoTokenizer.from_pretrained(str(tiny("llama")))
    turns = [{"role": "user", "content": PROMPT}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    executor = agent.SingleTurnAgentExecutor(f"http://127.0.0.1:{real.port}/get_reward")
    params = SimpleNamespace(max_tokens=64, logprobs=None)
    outputs = await asyncio.gather(
        *(executor.execute(prompt, "", params, 512, tokenizer, Engine(tokenizer, r)) for r in RESPONSES)
    )
    items = [{"prompt": PROMPT, "response": response} for response in RESPONSES]
    scores = (await real.rest.post("/v1/score", json={"items": items})).json()["scores"]
    for output, score in zip(outputs, scores, strict=True):
        assert output["reward"] == [pytest.approx(score["reward"], abs=1e-6)]
        assert output["scores"] == output["reward"]
        # As its sample generator reads them.
        assert torch.tensor([output["reward"]]).isfinite().all()
        assert all(torch.tensor([value]).isfinite().all() for value in output["extra_logs"].values())


async def test_a_full_queue_costs_it_no_try(
    agent: Any, rewards: Rewards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It tries again after a fixed second, five times: each request is held instead, and answered."""
    gate, watching, num_posts = Gate(), Refusals(), 0
    usual = agent.aiohttp.ClientSession.post

    def post(*args: Any, **more: Any) -> Any:
        nonlocal num_posts
        num_posts += 1
        return usual(*args, **more)

    monkeypatch.setattr(agent.aiohttp.ClientSession, "post", post)
    limits = Limits(max_queued_tokens=40, max_batch_tokens=40)
    async with served(load=gate.load, limits=limits, observer=watching, dialects=("openrlhf",)) as it:
        executor = agent.SingleTurnAgentExecutor(f"http://127.0.0.1:{it.port}/get_reward")

        def ask(response: str) -> asyncio.Task[Any]:
            return asyncio.create_task(
                executor._fetch_rewards_via_http([PROMPT + response], [PROMPT], [None])
            )

        try:
            first = ask("one")
            await gate.until_entered()
            others = [ask(response) for response in RESPONSES]
            await watching.until(lambda: watching.num_refused >= 2)
        finally:
            gate.opened.set()
        told = [reply[0]["rewards"][0] for reply in await asyncio.gather(first, *others)]
    assert told[1:] == pytest.approx(await rewards(), abs=1e-6)
    assert num_posts == 4
