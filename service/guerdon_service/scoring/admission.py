"""Cheap refusal: everything that can be said before tokenizing."""

from collections.abc import Sequence

from guerdon_service.core.conversation import Conversation, check_conversation
from guerdon_service.core.errors import InputTooLong, InvalidInput
from guerdon_service.core.limits import Limits, check_count, check_turns
from guerdon_service.core.query import CompareQuery, Options, RankQuery, ScoreQuery
from guerdon_service.scoring.model_scorer import Entry


def score_entries(query: ScoreQuery, limits: Limits) -> list[Entry]:
    """Check and name the items of a score query."""
    _check_count("items", len(query.items), limits)
    check_turns("items", sum(len(item.prompt) for item in query.items))
    return _checked(
        [Entry(item, f"items[{i}].prompt", f"items[{i}].response") for i, item in enumerate(query.items)],
        limits,
    )


def compare_entries(query: CompareQuery, limits: Limits) -> list[Entry]:
    """Check and name both sides of every pair: a0, b0, a1, b1, ..."""
    _check_count("pairs", len(query.pairs), limits)
    check_turns("pairs", sum(2 * len(pair.prompt) for pair in query.pairs))
    return _checked(
        [
            Entry(Conversation(pair.prompt, text), f"pairs[{i}].prompt", f"pairs[{i}].{side}")
            for i, pair in enumerate(query.pairs)
            for side, text in (("a", pair.a), ("b", pair.b))
        ],
        limits,
    )


def rank_entries(query: RankQuery, limits: Limits) -> list[Entry]:
    """Check and name the candidates of a rank query."""
    _check_count("candidates", len(query.candidates), limits)
    check_turns("candidates", len(query.prompt) * len(query.candidates))
    if query.top_k is not None and query.top_k < 1:
        raise InvalidInput(f"top_k is {query.top_k}; give 1 or more, or leave it out", param="top_k")
    return _checked(
        [
            Entry(Conversation(query.prompt, text), "prompt", f"candidates[{i}]")
            for i, text in enumerate(query.candidates)
        ],
        limits,
    )


def check_options(options: Options) -> None:
    """Refuse a deadline that cannot be met.

    Raises:
        InvalidInput: the deadline is not positive.
    """
    if options.deadline_s is not None and not options.deadline_s > 0:
        raise InvalidInput(
            "deadline_ms must be more than 0; leave it out for the default", param="deadline_ms"
        )


def _check_count(param: str, count: int, limits: Limits) -> None:
    if count == 0:
        raise InvalidInput(f"{param} is empty; give at least one", param=param)
    check_count(param, count, limits)


def _checked(entries: Sequence[Entry], limits: Limits) -> list[Entry]:
    for entry in entries:
        num_chars = entry.conversation.num_chars
        if num_chars > limits.max_item_chars:
            longer_response = len(entry.conversation.response) * 2 >= num_chars
            param = entry.response_param if longer_response else entry.prompt_param
            raise InputTooLong(
                f"{param} makes a conversation of {num_chars} characters, the limit max_item_chars is "
                f"{limits.max_item_chars}; shorten it",
                param=param,
            )
        check_conversation(entry.conversation, entry.prompt_param, entry.response_param)
    return list(entries)
