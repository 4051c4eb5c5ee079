"""Responses from a causal language model: batched, cached, and a pure function of their random numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from guerdon_training.policy.logprobs import token_logprobs


@dataclass(frozen=True, slots=True)
class Responses:
    """What was sampled.

    tokens: int64 [B, R], up to and with the first EOS, then pads.
    mask: float32 [B, R]. Ends are never read off the token ids: the pad may be the EOS.
    logprobs: float32 [B, R], of the tokens when they were drawn, at the temperature, before `top_p`; 0 off
        the mask. Training recomputes them; these show whether it recomputes them right.
    finished: bool [B], whether an EOS was sampled within R tokens.
    """

    tokens: Tensor
    mask: Tensor
    logprobs: Tensor
    finished: Tensor


def pad_left(rows: Sequence[Sequence[int]], pad_token_id: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask, int64 [B, P]; padded on the left, so that every response begins in one column."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad_token_id] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def shared_length(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with, a template's system turn above all.

    Every prompt keeps at least one token of its own.
    """
    most = min(len(p) for p in prompts) - 1
    columns = zip(*(p[:most] for p in prompts), strict=True)
    return next((i for i, column in enumerate(columns) if len(set(column)) > 1), most)


def positions(mask: Tensor) -> Tensor:
    """Position ids under padding on either side: the first real token is number 0. Int64 [B, T] both."""
    return (mask.cumsum(1) - 1).clamp(min=0)


def uniforms(seeds: Sequence[int], num_tokens: int) -> Tensor:
    """Float64 [B, num_tokens] in [0, 1): row i depends on ``seeds[i]`` alone, not on its neighbours."""
    rows = [torch.rand(num_tokens, dtype=torch.float64, generator=_generator(seed)) for seed in seeds]
    return torch.stack(rows)


@torch.no_grad()
def sample_responses(
    model: Any,
    prompts: Sequence[Sequence[int]],
    noise: Tensor,
    *,
    temperature: float,
    top_p: float,
    eos_token_ids: Sequence[int],
    pad_token_id: int,
) -> Responses:
    """Sample up to R tokens a prompt; a row leaves the batch at its EOS, a shared beginning is computed once.

    Args:
        model: causal language model in evaluation mode.
        prompts: B lists of token ids.
        noise: float64 [B, R] from `uniforms`; R is the largest number of tokens.
        temperature: divides the logits, > 0.
        top_p: share of the probability that is kept (Holtzman et al., arXiv 1904.09751); 1.0 keeps all.
            Below 1 the samples are not the policy's own, and policy gradients from them are biased.
    """
    device = next(model.parameters()).device
    noise, ends = noise.to(device), torch.tensor(list(eos_token_ids), device=device)
    tokens = torch.full(noise.shape, pad_token_id, device=device)
    mask = torch.zeros(noise.shape, device=device)
    logprobs = torch.zeros_like(mask)
    finished = torch.zeros(len(noise), dtype=torch.bool, device=device)
    rows = torch.arange(len(noise), device=device)
    step, ids, seen, cache = _begin(model, prompts, pad_token_id)
    where = positions(seen)[:, -ids.shape[1] :]
    for t in range(noise.shape[1]):
        logits = step(ids, attention_mask=seen, position_ids=where, logits_to_keep=1).logits[:, -1]
        chosen = draw(next_token_probabilities(logits, temperature, top_p), noise[rows, t])
        tokens[rows, t], mask[rows, t] = chosen, 1.0
        logprobs[rows, t] = token_logprobs(logits, chosen, temperature)
        ended = torch.isin(chosen, ends)
        finished[rows] = ended
        if bool(ended.all()):
            break
        if bool(ended.any()):
            going = (~ended).nonzero().squeeze(1)
            cache.batch_select_indices(going)
            rows, seen, where, chosen = rows[going], seen[going], where[going], chosen[going]
        ids, where = chosen[:, None], where[:, -1:] + 1
        seen = torch.cat([seen, torch.ones_like(ids)], dim=1)
    return Responses(tokens, mask, logprobs, finished)


def _begin(
    model: Any, prompts: Sequence[Sequence[int]], pad_token_id: int
) -> tuple[Callable[..., Any], Tensor, Tensor, DynamicCache]:
    """The model bound to a cache with what all prompts share; the other tokens; the mask over both."""
    device, shared = next(model.parameters()).device, shared_length(prompts)
    cache = DynamicCache(config=model.config)
    step = partial(model, **{_cache_argument(model): cache})
    if shared:
        step(torch.tensor([prompts[0][:shared]], device=device), logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
    ids, mask = pad_left([p[shared:] for p in prompts], pad_token_id)
    seen = torch.cat([torch.ones(len(prompts), shared, dtype=mask.dtype), mask], dim=1)
    return step, ids.to(device), seen.to(device), cache


def next_token_probabilities(logits: Tensor, temperature: float, top_p: float) -> Tensor:
    """Float64 [B, V]; with `top_p` < 1 the least likely tokens beyond that share have probability 0.

    The token that crosses the threshold is kept, so at least one is.
    """
    probabilities = torch.softmax(logits.double() / temperature, -1)
    if top_p == 1.0:
        return probabilities
    ordered, order = probabilities.sort(-1, descending=True)
    ordered[ordered.cumsum(-1) - ordered >= top_p] = 0.0
    kept = torch.zeros_like(probabilities).scatter_(-1, order, ordered)
    return kept / kept.sum(-1, keepdim=True)


def draw(probabilities: Tensor, noise: Tensor) -> Tensor:
    """Inverse of the cumulative distribution at `noise`: int64 [B]; never a token of probability 0.

    Of probabilities that are no numbers it draws the last token; whoever asks for its log-probability sees.

    Args:
        probabilities: float64 [B, V]. noise: float64 [B] in [0, 1).
    """
    cumulative = probabilities.cumsum(-1)
    found = torch.searchsorted(cumulative, (noise * cumulative[:, -1])[:, None], right=True)
    return found.squeeze(1).clamp(max=probabilities.shape[1] - 1)


def _cache_argument(model: Any) -> str:
    """`transformers` renamed it in 5.24 and drops the old name in 5.40."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "cache" if "cache" in signature(inner.forward).parameters else "past_key_values"


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
