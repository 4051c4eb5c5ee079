"""Batched decoding of n responses to one prompt, whose tokens are computed once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from guerdon_service.policies.draw import draw

_ROWS = 8
"""Batches hold a multiple of this many rows. A row of a float32 matrix product does not depend on the
others, bit for bit, once there are at least 8; so no candidate depends on how many there are."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """One finished response.

    tokens: with the end token that finished it, if one did (`ended`).
    """

    row: int
    tokens: tuple[int, ...]
    ended: bool


@torch.inference_mode()
def decode(
    model: Any, prompt: Sequence[int], noise: Tensor, *, temperature: float, top_p: float, ends: Sequence[int]
) -> Iterator[list[Sampled]]:
    """Sample up to R tokens for each of n responses.

    All rows are equally long at every step, so there is no padding and no mask. A finished row stays where it
    is, ignored, until 8 rows can leave the batch at once.

    Args:
        model: causal language model in evaluation mode, with `shared_attention`.
        prompt: token ids, at least one.
        noise: float64 [n, R] of `draw.uniforms`.
        ends: token ids that end a response.

    Yields:
        After every token the responses that it finished, often none; close the iterator to stop.
    """
    device = next(model.parameters()).device
    noise, end_ids = noise.to(device), torch.tensor(list(ends), device=device)
    cached = _cache_argument(model)
    shared: Any = DynamicCache()
    own = DynamicCache()
    first = model(torch.tensor([list(prompt)], device=device), logits_to_keep=1, **{cached: shared}).logits
    forward = partial(model, **{cached: own}, prompt=[(layer.keys, layer.values) for layer in shared.layers])
    width = _width(len(noise), temperature)
    logits = first[:, -1].expand(width, -1)
    slots, rows = torch.arange(len(noise)), torch.arange(len(noise))  # where each live row is in the batch
    written: list[list[int]] = [[] for _ in range(len(noise))]
    for step in range(noise.shape[1]):
        chosen = draw(logits[slots], noise[rows, step], temperature, top_p)
        ended = torch.isin(chosen, end_ids).cpu()
        for row, token in zip(rows.tolist(), chosen.tolist(), strict=True):
            written[row].append(token)
        last = step + 1 == noise.shape[1]
        done = torch.ones_like(ended) if last else ended
        yield [
            Sampled(row, tuple(written[row]), end)
            for row, end, is_done in zip(rows.tolist(), ended.tolist(), done.tolist(), strict=True)
            if is_done
        ]
        going = ~done
        slots, rows, chosen = slots[going], rows[going], chosen[going.to(device)]
        if not len(rows):
            return
        slots, width = _leave(own, slots, width, temperature)
        ids = torch.full((width, 1), ends[0], device=device)
        ids[slots, 0] = chosen
        where = torch.full_like(ids, len(prompt) + step)
        logits = forward(ids, position_ids=where).logits[:, -1]


def _width(num_rows: int, temperature: float) -> int:
    """Rows of the batch. Greedy responses are all alike, and one row gives them as `generate` does."""
    return num_rows if temperature == 0.0 else -(-num_rows // _ROWS) * _ROWS


def _leave(cache: DynamicCache, slots: Tensor, width: int, temperature: float) -> tuple[Tensor, int]:
    """Drop rows that nobody needs from the cache, once a whole multiple of `_ROWS` can go."""
    needed = _width(len(slots), temperature)
    if needed == width:
        return slots, width
    kept = torch.cat([slots, slots[-1:].expand(needed - len(slots))])
    cache.batch_select_indices(kept)
    return torch.arange(len(slots)), needed


def _cache_argument(model: Any) -> str:
    """`transformers` renamed it in 5.24 and drops the old name in 5.40."""
    return "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
