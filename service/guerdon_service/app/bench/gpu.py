"""A CUDA device with models of real shapes: share of its matrix rate, tokens a second, shared prompts."""

import asyncio
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from transformers import PreTrainedConfig

from guerdon_service.app.bench.figure import Figure, at_least, at_most, plain
from guerdon_service.app.bench.limit import matrix_flops_per_s
from guerdon_service.app.bench.random_model import (
    MAX_TOKENS,
    SHAPES,
    conversations,
    decoder_flops,
    random_backend,
    responses,
)
from guerdon_service.backends.torch_backend import TorchBackend
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import NullObserver
from guerdon_service.core.query import Lane
from guerdon_service.engine.engine import Engine

MATRIX = 8192
"""Rows and columns of the square matrices whose product sets the limit."""
MFU_LENGTHS = (512, 2048)
SERVED = "Qwen3-0.6B"
SERVED_LENGTH, SERVED_P99_MS, SERVED_TOKENS_PER_S = 300, 500.0, 300_000.0
PROMPT, RESPONSE = 300, 60
FORWARDS = 8
"""Of one measurement."""


def on_gpu(
    rounds: int, items: int, device: str = "cuda", shapes: Mapping[str, PreTrainedConfig] = SHAPES
) -> list[Figure]:
    """The figures of every shape, in bfloat16.

    Raises:
        InvalidInput: this machine has no such device.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidInput("torch sees no CUDA device; leave out --gpu", param="gpu")
    limit = matrix_flops_per_s(torch.bfloat16, MATRIX, device)
    figures = [plain("bf16 matrix rate", [limit / 1e12], "TFLOP/s")]
    for name, config in shapes.items():
        backend = random_backend(config, device)
        figures += [
            at_least(
                f"{name}: share of the matrix rate, {length} tokens",
                _shares(backend, config, length, limit, rounds),
                0.5,
                "",
            )
            for length in MFU_LENGTHS
        ]
        figures.append(_shared_prompt(name, backend, config, rounds))
        if name == SERVED:
            figures += asyncio.run(_served(name, backend, config, rounds, items))
        backend.close()
    return figures


def _shares(
    backend: TorchBackend, config: PreTrainedConfig, length: int, limit: float, rounds: int
) -> list[float]:
    batch = conversations(max(1, MAX_TOKENS // length), length, config.vocab_size, seed=length)
    flops = decoder_flops(config, [length] * len(batch))
    return [flops / _seconds(backend, batch) / limit for _ in range(rounds)]


def _shared_prompt(name: str, backend: TorchBackend, config: PreTrainedConfig, rounds: int) -> Figure:
    """A forward of responses to one prompt, over one of as many tokens that share nothing."""
    count = (MAX_TOKENS - PROMPT) // RESPONSE
    shared = responses(count, PROMPT, RESPONSE, config.vocab_size, seed=1)
    num_rows = PROMPT + count * RESPONSE
    apart = conversations(num_rows // SERVED_LENGTH, SERVED_LENGTH, config.vocab_size, seed=2)
    per_token = num_rows / sum(e.num_tokens for e in apart)
    found = [_seconds(backend, shared) / (_seconds(backend, apart) * per_token) for _ in range(rounds)]
    return at_most(f"{name}: {count} responses to one prompt / prompt once and responses", found, 1.15, "x")


def _seconds(backend: TorchBackend, batch: Sequence[Encoded]) -> float:
    """Mean of forwards one after another, after one to warm up; each ends with its scores on the host."""
    backend.forward(batch)
    started = time.perf_counter()
    for _ in range(FORWARDS):
        backend.forward(batch)
    return (time.perf_counter() - started) / FORWARDS


async def _served(
    name: str, backend: TorchBackend, config: PreTrainedConfig, rounds: int, items: int
) -> list[Figure]:
    """Conversations of 300 tokens through the engine, a quarter second of the goal waiting in it."""
    in_flight = max(1, round(SERVED_TOKENS_PER_S * SERVED_P99_MS / 1000 / 2 / SERVED_LENGTH))
    rates, latencies = [], []
    engine = Engine(name, backend, Limits(max_batch_tokens=MAX_TOKENS), NullObserver())
    try:
        for number in range(rounds):
            batch = conversations(items, SERVED_LENGTH, config.vocab_size, seed=10 + number)
            started = time.perf_counter()
            found = await _closed_loop(engine, batch, in_flight)
            rates.append(items * SERVED_LENGTH / (time.perf_counter() - started))
            latencies.append(1000 * float(np.quantile(found, 0.99)))
    finally:
        await engine.close()
    return [
        at_least(
            f"{name}: {SERVED_LENGTH} tokens each, through the engine", rates, SERVED_TOKENS_PER_S, "tokens/s"
        ),
        at_most(f"{name}: p99 of these", latencies, SERVED_P99_MS, "ms"),
    ]


async def _closed_loop(engine: Engine, batch: Sequence[Encoded], in_flight: int) -> list[float]:
    """Seconds from question to score of each, `in_flight` asked at a time."""
    waiting = iter(enumerate(batch))
    seconds: list[float] = []

    async def ask() -> None:
        for number, encoded in waiting:
            started = time.perf_counter()
            deadline = time.monotonic() + 60
            await engine.score([encoded], [number.to_bytes(8)], deadline=deadline, lane=Lane.INTERACTIVE)
            seconds.append(time.perf_counter() - started)

    await asyncio.gather(*(ask() for _ in range(in_flight)))
    return seconds
