"""Token ids of one conversation in the parts that truncation tells apart."""

from dataclasses import dataclass

import numpy as np

from guerdon_service.core.encoded import Encoded
from guerdon_service.core.errors import InputTooLong, InvalidInput


@dataclass(frozen=True, slots=True)
class Segments:
    """``head + prompt + joint | response``; the bar is where the response segment begins.

    head: leading special tokens (BOS, [CLS]), always kept.
    prompt: the only part that is ever cut, on its left.
    joint: special tokens between the two texts of a pair, always kept.
    response: the response and all that follows it, always kept.
    """

    head: list[int]
    prompt: list[int]
    joint: list[int]
    response: list[int]


def fit(segments: Segments, max_tokens: int, param: str) -> Encoded:
    """Join the segments, cutting prompt tokens on the left down to `max_tokens`.

    Args:
        param: path of the response's field in the request, for errors.

    Raises:
        InputTooLong: what is always kept, and one prompt token, do not fit.
        InvalidInput: a segment holds no token at all.
    """
    prompt, response = segments.prompt, segments.response
    kept = len(segments.head) + len(segments.joint) + len(response)
    excess = max(0, kept + len(prompt) - max_tokens)
    if excess and excess >= len(prompt):
        raise InputTooLong(
            f"{param} takes {len(response)} tokens; with {kept - len(response)} special tokens and at least "
            f"one of the prompt that is over the model's max_tokens of {max_tokens}, and a response is never "
            "cut; shorten it, or serve a model with a larger max_tokens",
            param=param,
        )
    prefix = segments.head + prompt[excess:] + segments.joint
    if not prefix or not response:
        raise InvalidInput(f"{param} gives no token to score; give visible text", param=param)
    ids = np.array(prefix + response, dtype=np.int32)
    return Encoded(ids, len(prefix), truncated=excess > 0)
