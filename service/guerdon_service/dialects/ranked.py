"""What rerankers share: a query and its documents as conversations, their order, and the activation."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InputTooLong
from guerdon_service.core.limits import Limits, check_count, check_turns
from guerdon_service.core.result import ScoreResult
from guerdon_service.dialects.markup import read_prompt
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
    items = responses_to(query, texts, scorer.limits, ("query", param))
    result = await scorer.score(items, model)
    return best_first(texts, result), result


def responses_to(
    query: str, texts: Sequence[str], limits: Limits, names: tuple[str, str]
) -> list[Conversation]:
    """`texts`, each as a response to `query`, which is read once and whose turns they share.

    Args:
        names: of the fields of the query and of the texts, for errors.

    Raises:
        InvalidInput: there are too many of them, `query` is too long or begins the response with too much to
            be repeated for each, or one of them cannot be told from it.
    """
    name, param = names
    check_count(param, len(texts), limits)
    if len(query) > limits.max_item_chars:
        raise InputTooLong(
            f"{name} has {len(query)} characters, the limit max_item_chars is {limits.max_item_chars}; "
            "shorten it",
            param=name,
        )
    prompt = read_prompt(query)
    check_turns(param, len(prompt.turns) * len(texts))
    if len(prompt.begun) * len(texts) > limits.max_body_bytes:
        raise InputTooLong(
            f"{name} begins the response with {len(prompt.begun)} characters, which for each of {len(texts)} "
            f"{param} are over max_body_bytes of {limits.max_body_bytes}; send fewer at once",
            param=name,
        )
    return [prompt.answered(text, f"{param}[{i}]") for i, text in enumerate(texts)]


def best_first(texts: Sequence[str], result: ScoreResult) -> list[Ranked]:
    """`texts` with their rewards, highest first."""
    found = [Ranked(i, text, s.reward) for i, (text, s) in enumerate(zip(texts, result.scores, strict=True))]
    return sorted(found, key=lambda ranked: -ranked.reward)


def sigmoid(reward: float) -> float:
    """``1 / (1 + exp(-reward))``, without overflow."""
    if reward >= 0:
        return 1 / (1 + exp(-reward))
    return exp(reward) / (1 + exp(reward))
