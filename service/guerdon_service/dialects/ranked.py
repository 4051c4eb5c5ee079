"""What rerankers share: a query and its documents as conversations, their order, and the activation."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from guerdon_service.core.result import ScoreResult
from guerdon_service.dialects.markup import of_pair
from guerdon_service.dialects.patient_scorer import PatientScorer


@dataclass(frozen=True, slots=True)
class Ranked:
    """One document: its place in the request, its text and its reward."""

    index: int
    text: str
    reward: float


async def rank_texts(
    scorer: PatientScorer, query: str, texts: Sequence[str], model: str | None, param: str
) -> tuple[list[Ranked], ScoreResult]:
    """`texts` best first: each is a response to `query`. Equal rewards keep the request's order.

    Args:
        param: name of the field of the texts, for errors.
    """
    items = [of_pair(query, text, f"{param}[{i}]") for i, text in enumerate(texts)]
    result = await scorer.score(items, model)
    return best_first(texts, result), result


def best_first(texts: Sequence[str], result: ScoreResult) -> list[Ranked]:
    """`texts` with their rewards, highest first."""
    found = [Ranked(i, text, s.reward) for i, (text, s) in enumerate(zip(texts, result.scores, strict=True))]
    return sorted(found, key=lambda ranked: -ranked.reward)


def sigmoid(reward: float) -> float:
    """``1 / (1 + exp(-reward))``, without overflow."""
    if reward >= 0:
        return 1 / (1 + exp(-reward))
    return exp(reward) / (1 + exp(reward))
