"""Trainers that render the template themselves get the reward of the conversation, from a real model."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
import torch
from transformers import AutoTokenizer

from guerdon_service.app.loader import load_model
from guerdon_service.core.artifact import ModelSpec
from tests.contract.harness import Served, served
from tests.dialects.conftest import ALL, PROMPT
from tests.tiny import tiny

pytestmark = pytest.mark.asyncio(loop_scope="module")

RESPONSE = "The capital of France is Paris, a city on the Seine."
ARCHS = ("llama", "qwen2")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real() -> AsyncIterator[Served]:
    torch.set_num_threads(1)
    async with served(*(ModelSpec(a, str(tiny(a))) for a in ARCHS), load=load_model, dialects=ALL) as it:
        yield it


@pytest.mark.parametrize("arch", ARCHS)
async def test_rendered_text(real: Served, arch: str) -> None:
    items = [{"prompt": PROMPT, "response": RESPONSE}]
    reply = await real.rest.post("/v1/score", json={"items": items, "model": arch})
    expected = pytest.approx(reply.json()["scores"][0]["reward"], abs=1e-6)

    tokenizer = AutoTokenizer.from_pretrained(str(tiny(arch)))
    turns = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": RESPONSE}]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    assert isinstance(text, str)
    body = {"model": arch, "input": text.removeprefix(tokenizer.bos_token or ""), "activation": False}
    classified = (await real.rest.post("/classify", json=body)).json()
    assert classified["data"][-1]["probs"][-1] == expected
    embedded = (await real.rest.post("/v1/embeddings", json=body)).json()
    assert embedded["data"][-1]["embedding"][-1] == expected

    ids = (await real.rest.post("/tokenize", json={"model": arch, "prompt": text})).json()["tokens"]
    assert ids == tokenizer.encode(text, add_special_tokens=False)


async def test_openrlhf_decodes_with_special_tokens(real: Served) -> None:
    """The default model, whose tokenizer adds the BOS that the template writes too."""
    reply = await real.rest.post("/v1/score", json={"items": [{"prompt": PROMPT, "response": RESPONSE}]})
    tokenizer = AutoTokenizer.from_pretrained(str(tiny(ARCHS[0])))
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer.encode(f"{prompt}{RESPONSE}<|eot_id|>", add_special_tokens=False)
    query = tokenizer.decode(ids, skip_special_tokens=False)
    body = {"query": [query], "prompts": [prompt], "labels": [None]}
    given = (await real.rest.post("/get_reward", json=body)).json()
    assert given["rewards"] == [pytest.approx(reply.json()["scores"][0]["reward"], abs=1e-6)]
