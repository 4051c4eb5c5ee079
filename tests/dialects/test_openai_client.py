"""The pooling and embedding routes through the `openai` package, whose errors they must raise."""

from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
import pytest_asyncio

from tests.contract.harness import Served
from tests.dialects.conftest import PROMPT, RESPONSES, Rewards
from tests.dialects.test_pooling import CHATML

pytestmark = pytest.mark.asyncio(loop_scope="module")

TEXTS = [CHATML.format(prompt=PROMPT, response=response) for response in RESPONSES]


@pytest_asyncio.fixture(params=["vllm", "sglang/v1"], loop_scope="module")
async def client(running: Served, request: pytest.FixtureRequest) -> AsyncIterator[openai.AsyncOpenAI]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")
        url = f"http://127.0.0.1:{running.port}/{request.param}"
        async with openai.AsyncOpenAI(api_key="no-key", base_url=url, max_retries=0) as it:
            yield it


@pytest.mark.parametrize("client", ["sglang/v1"], indirect=True)
@pytest.mark.parametrize("more", [{}, {"encoding_format": "float"}], ids=["base64", "float"])
async def test_embeddings(client: openai.AsyncOpenAI, rewards: Rewards, more: dict[str, Any]) -> None:
    """Left out, the package asks for base64 and decodes it."""
    found = await client.embeddings.create(model="fake", input=TEXTS, **more)
    assert [entry.embedding[-1] for entry in found.data] == pytest.approx(await rewards(), abs=1e-6)
    assert found.usage.total_tokens > 0


@pytest.mark.parametrize("client", ["vllm"], indirect=True)
async def test_classify(client: openai.AsyncOpenAI, rewards: Rewards) -> None:
    body = {"model": "fake", "input": TEXTS, "activation": False}
    found: Any = await client.post("/classify", body=body, cast_to=object)
    assert [entry["probs"][-1] for entry in found["data"]] == pytest.approx(await rewards(), abs=1e-6)


async def test_its_errors(client: openai.AsyncOpenAI) -> None:
    path = "/classify" if str(client.base_url).endswith("/vllm/") else "/embeddings"
    for body, error in (
        ({"model": "fake", "input": "no turns"}, openai.BadRequestError),
        ({"model": "absent", "input": TEXTS}, openai.NotFoundError),
    ):
        with pytest.raises(error) as refused:
            await client.post(path, body=body, cast_to=object)
        assert refused.value.type == error.__name__
