"""Cheap refusal of a best-of-n query: everything that can be said before a token is sampled."""

from math import inf

from guerdon_service.core.best_of_n import BestOfNQuery
from guerdon_service.core.conversation import Conversation, Message, check_conversation
from guerdon_service.core.errors import InputTooLong, InvalidInput
from guerdon_service.core.generation import SamplingParams
from guerdon_service.core.limits import Limits

MAX_SAMPLES = 256
"""Most candidates of one query: beyond it the win rate's bound grows by less than 0.4 %."""

Ranges = dict[str, tuple[float, bool, str]]
"""Value, whether it is right, and the remedy, by field."""


def check_query(query: BestOfNQuery, limits: Limits) -> None:
    """Refuse what cannot be sampled or chosen from.

    Raises:
        InvalidInput: the offending field is named.
    """
    check_sampling(query.n, query.params)
    ranges: Ranges = {
        "conservatism": (query.conservatism, 0 <= query.conservatism < inf, "0 or more"),
        "choice_temperature": (query.choice_temperature, 0 <= query.choice_temperature < inf, "0 or more"),
        "min_margin": (query.min_margin, 0 <= query.min_margin < inf, "0 or more"),
        "patience": (query.patience, query.patience >= 0, "0 (never stops early) or more"),
    }
    _check_ranges(ranges)
    deadline_s = query.options.deadline_s
    if deadline_s is not None and not deadline_s > 0:
        raise InvalidInput(
            "deadline_ms must be more than 0; leave it out for the default", param="deadline_ms"
        )
    check_prompt(query.prompt, limits, "prompt")


def check_sampling(n: int, params: SamplingParams) -> None:
    """Refuse what no policy can sample.

    Raises:
        InvalidInput: the offending field is named.
    """
    ranges: Ranges = {
        "n": (n, 1 <= n <= MAX_SAMPLES, f"1 to {MAX_SAMPLES}"),
        "max_tokens": (params.max_tokens, params.max_tokens >= 1, "1 or more"),
        "temperature": (params.temperature, 0 <= params.temperature < inf, "0 (greedy) or more"),
        "top_p": (params.top_p, 0 < params.top_p <= 1, "more than 0, at most 1"),
        "seed": (params.seed, params.seed >= 0, "0 or more"),
    }
    _check_ranges(ranges)


def check_prompt(prompt: tuple[Message, ...], limits: Limits, param: str) -> None:
    """Refuse a prompt that nobody should answer.

    Raises:
        InvalidInput: see `check_conversation`.
        InputTooLong: it is over `limits.max_item_chars`.
    """
    conversation = Conversation(prompt, "x")
    if conversation.num_chars > limits.max_item_chars:
        raise InputTooLong(
            f"{param} has {conversation.num_chars} characters, the limit max_item_chars is "
            f"{limits.max_item_chars}; shorten it",
            param=param,
        )
    check_conversation(conversation, param, "response")


def _check_ranges(ranges: Ranges) -> None:
    for name, (value, is_right, remedy) in ranges.items():
        if not is_right:
            raise InvalidInput(f"{name} is {value}; give {remedy}", param=name)
