"""A CUDA device with models of real shapes: share of its matrix rate, tokens a second, shared prompts.

And what CUDA graphs save, and whether any score's bits depend on its batch there.
"""

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
    random_backends,
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
PACKS = 4
"""Forwards of a batch: the host prepares one while the device computes the one before."""
SERVED_TURNS = 16
"""Times that each of those who wait is answered in a round, at least."""


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
        recorded, eager = random_backends(config, device)
        for length in MFU_LENGTHS:
            shares = _shares(recorded, config, length, limit, rounds)
            figures.append(at_least(f"{name}: share of the matrix rate, {length} tokens", shares, 0.5, ""))
        figures.append(_shared_prompt(name, recorded, config, rounds))
        figures += _graphs(name, recorded, eager, config, rounds)
        figures.append(_dependent(name, recorded, config))
        if name == SERVED:
            figures += asyncio.run(_served(name, recorded, config, rounds, items))
            figures += asyncio.run(_served(f"{name} without graphs", eager, config, rounds, items))
        recorded.close()
        eager.close()
    return figures


def _shares(
    backend: TorchBackend, config: PreTrainedConfig, length: int, limit: float, rounds: int
) -> list[float]:
    count = PACKS * max(1, MAX_TOKENS // length)
    batch = conversations(count, length, config.vocab_size, seed=length)
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


def _graphs(
    name: str, recorded: TorchBackend, eager: TorchBackend, config: PreTrainedConfig, rounds: int
) -> list[Figure]:
    """A lone conversation, and a full batch, with CUDA graphs and without, by turns."""
    figures = []
    for kind, count in {"a lone conversation": 1, "a full forward": MAX_TOKENS // SERVED_LENGTH}.items():
        batch = conversations(count, SERVED_LENGTH, config.vocab_size, seed=3)
        seconds = [(_seconds(recorded, batch), _seconds(eager, batch)) for _ in range(rounds)]
        what = f"{name}: {kind} of {SERVED_LENGTH} tokens"
        figures += [
            plain(f"{what}, with graphs", [1000 * s for s, _ in seconds], "ms"),
            plain(f"{what}, without / with", [without / s for s, without in seconds], "x"),
        ]
    return figures


def _dependent(name: str, backend: TorchBackend, config: PreTrainedConfig) -> Figure:
    """How many scores have other bits in a batch than alone, of strangers and of one prompt's responses."""
    lengths = [length for length in (3, 17, 100, 300, 511, 1024) if length <= MAX_TOKENS]
    batch = [conversations(1, n, config.vocab_size, seed=n)[0] for n in lengths]
    batch += responses(5, min(PROMPT, MAX_TOKENS // 2), RESPONSE, config.vocab_size, seed=4)
    alone = [backend.forward([one])[0].tobytes() for one in batch]
    batched = [row.tobytes() for row in backend.forward(batch)[0]]
    backwards = [row.tobytes() for row in backend.forward(batch[::-1])[0]][::-1]
    changed = sum(len({*bits}) > 1 for bits in zip(alone, batched, backwards, strict=True))
    return at_most(f"{name}: scores of {len(batch)} that depend on their batch", [changed], 0, "")


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
    items = max(items, SERVED_TURNS * in_flight)
    engine = Engine(name, backend, Limits(max_batch_tokens=PACKS * MAX_TOKENS), NullObserver())
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
