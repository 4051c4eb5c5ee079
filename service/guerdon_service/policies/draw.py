"""The next token: from logits and one random number a row."""

import numpy as np
import torch
from torch import Tensor

_LIKELY = 512
"""Tokens that are looked at for `top_p` before all are sorted: a chat model's nucleus is far smaller."""


def uniforms(seed: int, index: int, num_tokens: int) -> Tensor:
    """Float64 [num_tokens] in [0, 1): the random numbers of candidate `index`.

    They depend on nothing else, so candidate i is the same of 4 and of 16; more tokens only go on.
    """
    sequence = np.random.SeedSequence([seed % 2**64, index])
    return torch.from_numpy(np.random.Generator(np.random.PCG64(sequence)).random(num_tokens))


def draw(logits: Tensor, noise: Tensor, temperature: float, top_p: float) -> Tensor:
    """Sample from ``softmax(logits / temperature)`` cut to its `top_p` nucleus: int64 [B].

    Args:
        logits: float [B, V]. noise: float64 [B] in [0, 1).
        temperature: 0 takes the likeliest token.
        top_p: share of the probability that is kept (Holtzman et al., arXiv 1904.09751); the token that
            crosses it is kept, so at least one is. 1.0 keeps all.
    """
    if temperature == 0.0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.double() / temperature, -1)
    if top_p == 1.0:
        return _invert(probabilities.cumsum(-1), noise)
    kept, tokens = _nucleus(probabilities, top_p)
    return tokens.gather(-1, _invert(kept.cumsum(-1), noise)[:, None])[:, 0]


def _nucleus(probabilities: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Probabilities from the likeliest on, 0 outside the nucleus, and their token ids: [B, K] both."""
    for count in (min(_LIKELY, probabilities.shape[-1]), probabilities.shape[-1]):
        ordered, tokens = probabilities.topk(count, -1)
        if bool((ordered.sum(-1) >= top_p).all()):
            break
    before = ordered.cumsum(-1) - ordered
    return ordered.masked_fill(before >= top_p, 0.0), tokens


def _invert(cumulative: Tensor, noise: Tensor) -> Tensor:
    """Where the cumulative distribution passes `noise` of its total; never an entry of probability 0."""
    found = torch.searchsorted(cumulative, (noise * cumulative[:, -1])[:, None], right=True)
    return found[:, 0]
