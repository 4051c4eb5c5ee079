"""How likely a policy says its own responses are, against plain `transformers`."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from guerdon_service.core.conversation import Message
from guerdon_service.core.generation import SamplingParams
from guerdon_service.policies.causal_lm import CausalLM
from guerdon_service.policies.chat_prompt import encode_prompt
from guerdon_service.policies.transformers_policy import TransformersPolicy
from tests.policies.tiny_policy import SPECIAL

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
