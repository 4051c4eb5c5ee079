"""Best-of-n sampling with one shared prompt, against as many calls of ``generate`` one after the other."""

import asyncio
import random
import time

import torch
from transformers import AutoModelForCausalLM

from guerdon_service.app.bench.decoder import PACKAGE
from guerdon_service.app.bench.figure import Figure, at_least, plain
from guerdon_service.app.bench.texts import words
from guerdon_service.artifacts.policy import read_policy
from guerdon_service.core.conversation import Message
from guerdon_service.core.generation import SamplingParams
from guerdon_service.policies.chat_prompt import encode_prompt
from guerdon_service.policies.gguf import dequantised
from guerdon_service.policies.transformers_policy import TransformersPolicy

N, PROMPT_WORDS, MAX_TOKENS = 16, 270, 64
"""The template adds some 30 tokens to the prompt's words."""


def best_of_sixteen(rounds: int) -> list[Figure]:
    """SmolLM2-135M-Instruct, fp32: 16 samples of one policy call / 16 sampling ``generate`` calls, per token.

    Both sides end a response at its EOS, so their rates are compared, not their times.
    """
    files = read_policy(PACKAGE)
    policy = TransformersPolicy.load("bench", files)
    reference = AutoModelForCausalLM.from_pretrained(dequantised(files.weights))
    ratios, rates = [], []
    for i in range(rounds + 1):
        prompt = (Message("user", words(random.Random(i), PROMPT_WORDS)),)
        shared = asyncio.run(_rate(policy, prompt, seed=i))
        ratios.append(shared / _sequential_rate(reference, encode_prompt(policy.lm.tokenizer, prompt), i))
        rates.append(shared)
    asyncio.run(policy.close())
    return [
        at_least(f"best of {N}: policy / sequential generate, tokens per second", ratios[1:], 4.0),
        plain(f"best of {N}: sampled", rates[1:], "tokens/s"),
    ]


async def _rate(policy: TransformersPolicy, prompt: tuple[Message, ...], seed: int) -> float:
    """Tokens per second of all candidates together, the prompt's forward included."""
    started = time.perf_counter()
    params = SamplingParams(max_tokens=MAX_TOKENS, seed=seed)
    tokens = sum([g.num_tokens async for g in policy.generate(prompt, N, params)])
    return tokens / (time.perf_counter() - started)


def _sequential_rate(model: torch.nn.Module, prompt: list[int], seed: int) -> float:
    torch.manual_seed(seed)
    ids, tokens = torch.tensor([prompt]), 0
    started = time.perf_counter()
    for _ in range(N):
        found = model.generate(ids, do_sample=True, top_k=0, max_new_tokens=MAX_TOKENS)  # type: ignore[operator]
        tokens += found.shape[1] - len(prompt)
    return tokens / (time.perf_counter() - started)
