"""The physical limit: which share of the machine's own matrix rate a forward reaches."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from guerdon_service.app.bench.bare import Bare, padded_model
from guerdon_service.app.bench.figure import Figure, at_least, plain
from guerdon_service.app.bench.rows import BUDGET
from guerdon_service.app.bench.texts import mixed_items
from guerdon_service.artifacts.read import read_artifact
from guerdon_service.backends.int8 import INT8
from guerdon_service.backends.int8_linear import Int8Linear, quantised
from guerdon_service.backends.int8_ranges import FILE
from guerdon_service.backends.native_bf16 import computed_in
from guerdon_service.backends.torch_backend import DTYPES
from guerdon_service.core.artifact import Artifact
from guerdon_service.core.encoded import Encoded

MATRIX = 2048
"""Rows and columns of the square matrices whose product sets the limit."""
ASKED = {"float32": 0.75, "bfloat16": 0.65, INT8: 0.45}


def share_of_limit(source: str, rounds: int, count: int) -> list[Figure]:
    """Operations per second of an encoder's forwards over those of one large product in the same type.

    int8 is measured where the artifact holds what ``guerdon export`` writes for it.
    """
    figures = []
    has_int8 = (read_artifact(source).folder / FILE).is_file()
    dtypes = [dtype for dtype in ASKED if dtype != INT8 or has_int8]
    bares = {dtype: Bare.load(source, "torch", dtype) for dtype in dtypes}
    first = next(iter(bares.values()))
    encoded = first.encode(mixed_items(count, seed=6))
    flops_per_token = forward_flops(first.artifact, encoded) / sum(e.num_tokens for e in encoded)
    for dtype in dtypes:
        limits, shares = [], []
        for _ in range(rounds):
            limits.append(_limit(dtype))
            tokens_per_s = bares[dtype].packed_tokens_per_s(encoded, BUDGET)
            shares.append(flops_per_token * tokens_per_s / limits[-1])
        figures += [
            at_least(f"{dtype}: forward / matrix rate", shares, ASKED[dtype], ""),
            plain(f"{dtype}: matrix rate", [limit / 1e9 for limit in limits], "GOP/s"),
        ]
    return figures


def _limit(dtype: str) -> float:
    if dtype == INT8:
        return int8_ops_per_s(MATRIX)
    return matrix_flops_per_s(computed_in(DTYPES[dtype], "cpu"), MATRIX)


def matrix_flops_per_s(dtype: torch.dtype, size: int, device: str = "cpu") -> float:
    """The best of five products of square matrices, after one to warm up."""
    a, b = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))

    def product() -> Tensor:
        answer = torch.mm(a, b)
        if device == "cuda":
            torch.cuda.synchronize()
        return answer

    return _rate(product, size)


def int8_ops_per_s(size: int) -> float:
    """The same in int8, by the product that the forward uses."""
    linear = Int8Linear(torch.randn(size, size), torch.zeros(size))
    rows = quantised(torch.randn(size, size) * 30)
    return _rate(lambda: linear(rows, torch.float32), size)


def _rate(product: Callable[[], Tensor], size: int) -> float:
    seconds = []
    for _ in range(6):
        started = time.perf_counter()
        product()
        seconds.append(time.perf_counter() - started)
    return float(2 * size**3 / min(seconds[1:]))


def forward_flops(artifact: Artifact, encoded: Sequence[Encoded]) -> float:
    """Operations of an encoder over these conversations: two a weight and token, and attention's products.

    Embeddings, norms, activations, the pooler and the head are left out.
    """
    model = padded_model(artifact)
    trunk = model.base_model
    linear = {name: m for name, m in trunk.named_modules() if isinstance(m, torch.nn.Linear)}
    weights = sum(m.weight.numel() for name, m in linear.items() if "pooler" not in name)
    lengths = [e.num_tokens for e in encoded]
    attention = 4 * model.config.num_hidden_layers * model.config.hidden_size * sum(n * n for n in lengths)
    return float(2 * weights * sum(lengths) + attention)
