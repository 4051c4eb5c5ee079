"""How likely a policy says its own responses are, against plain `transformers`."""

import asyncio
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import BackendFailed, InvalidInput, NotReady
from guerdon_service.core.generation import Generated, SamplingParams
from guerdon_service.policies.causal_lm import CausalLM
from guerdon_service.policies.chat_prompt import encode_prompt
from guerdon_service.policies.transformers_policy import TransformersPolicy
from tests.policies.tiny_policy import CONTEXT, SPECIAL

PROMPT = (Message("user", "red blue one"),)
ENDS = (SPECIAL.index("<end>"), SPECIAL.index("<user>"))
"""As of chat models that may end a turn or the text."""


async def test_the_end_is_the_one_that_was_sampled(lm: CausalLM, folder: Path) -> None:
    policy = TransformersPolicy("two ends", "digest", replace(lm, ends=ENDS))
    params = SamplingParams(max_tokens=6, seed=1)
    responses = [g async for g in policy.generate(PROMPT, 24, params)]
    assert {g.end_token for g in responses} == {*ENDS, None}
    assert all((g.end_token is None) == (g.finish_reason == "length") for g in responses)
    found = await policy.logprobs(PROMPT, responses)
    await policy.close()
    plain, prompt = AutoModelForCausalLM.from_pretrained(folder), encode_prompt(lm.tokenizer, PROMPT)
    for response, logs in zip(responses, found, strict=True):
        tokens = lm.tokenizer(response.text)["input_ids"]
        tokens += [] if response.end_token is None else [response.end_token]
        assert logs.ids == tuple(tokens)
        with torch.no_grad():
            every = plain(torch.tensor([[*prompt, *tokens]])).logits[0].log_softmax(-1)
        places = range(len(prompt) - 1, len(prompt) + len(tokens) - 1)
        expected = [float(every[place, token]) for place, token in zip(places, tokens, strict=True)]
        assert logs.values.tolist() == pytest.approx(expected, abs=1e-4)


class Counted:
    """A model that counts its forwards; the first one waits to be let on."""

    def __init__(self, model: Any) -> None:
        self.model, self.num_forwards, self.begun, self.go = model, 0, Event(), Event()
        self.parameters = model.parameters

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.num_forwards += 1
        self.begun.set()
        self.go.wait()
        return self.model(*args, **kwargs)


RESPONSES = [Generated(i, "one two", 2, "length") for i in range(50)]


async def test_who_leaves_does_not_keep_the_thread(lm: CausalLM) -> None:
    model = Counted(lm.model)
    policy = TransformersPolicy("tiny", "digest", replace(lm, model=model))
    reading = asyncio.create_task(policy.logprobs(PROMPT, RESPONSES))
    await asyncio.to_thread(model.begun.wait)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    model.go.set()
    await policy.close()
    assert model.num_forwards == 1


async def test_closing_ends_what_is_read_and_takes_nothing_new(lm: CausalLM) -> None:
    model = Counted(lm.model)
    policy = TransformersPolicy("tiny", "digest", replace(lm, model=model))
    reading = asyncio.create_task(policy.logprobs(PROMPT, RESPONSES))
    await asyncio.to_thread(model.begun.wait)
    closing = asyncio.create_task(policy.close())
    await asyncio.sleep(0)
    model.go.set()
    await closing
    with pytest.raises(NotReady):
        await reading
    assert model.num_forwards == 1
    with pytest.raises(NotReady):
        await policy.logprobs(PROMPT, RESPONSES)


async def test_what_cannot_be_read_is_said(policy: TransformersPolicy, lm: CausalLM) -> None:
    with pytest.raises(InvalidInput, match="exceeds the context") as refused:
        await policy.logprobs(PROMPT, [Generated(0, "one " * CONTEXT, CONTEXT, "length")])
    assert refused.value.param == "max_tokens"

    def full(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("no memory left")

    full.parameters = lm.model.parameters  # type: ignore[attr-defined]
    broken = TransformersPolicy("full", "digest", replace(lm, model=full))
    with pytest.raises(BackendFailed, match="policy full failed"):
        await broken.logprobs(PROMPT, RESPONSES)
    await broken.close()


async def test_few_distributions_are_held_in_float64_at_a_time(
    policy: TransformersPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    plain = torch.log_softmax

    def noted(logits: torch.Tensor, *args: Any) -> torch.Tensor:
        rows.append(len(logits))
        return plain(logits, *args)

    monkeypatch.setattr(torch, "log_softmax", noted)
    (found,) = await policy.logprobs(PROMPT, [Generated(0, "one " * 200, 200, "length")])
    assert len(found.values) == sum(rows) == 200 and max(rows) <= 64
