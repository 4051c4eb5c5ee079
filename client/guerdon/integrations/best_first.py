"""Texts in the order of their rewards, as retrieval libraries ask for them."""

from collections.abc import Sequence
from contextlib import nullcontext

from guerdon.client import Client


def best_first(
    target: str | Client,
    query: str,
    texts: Sequence[str],
    *,
    top_n: int | None,
    model: str | None,
    profile: str | None,
) -> list[tuple[int, float]]:
    """Index and reward of the `top_n` best of `texts`, or of all: each is a response to `query`.

    Args:
        target: a service's URL, asked over a connection of its own, or a `Client`, which may hold an API key
            and keeps its connections.

    Raises:
        GuerdonError: once the client's own retries have ended.
    """
    if not texts:
        return []
    with Client(target) if isinstance(target, str) else nullcontext(target) as client:
        found = client.rank(query, texts, top_k=top_n, model=model, profile=profile)
    return [(candidate.index, candidate.reward) for candidate in found.results]
