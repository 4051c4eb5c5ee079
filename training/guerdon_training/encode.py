"""Conversation to tokens for encoders, exactly as the service does it (`pair` encoding)."""

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Message
from guerdon_service.core.render import render_pair_prompt


@dataclass(frozen=True, slots=True)
class PairTokens:
    """Ids of ``[CLS] prompt [SEP] response [SEP]``; token type 1 begins at `prefix_len`."""

    input_ids: tuple[int, ...]
    prefix_len: int


def encode_pair(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], response: str, max_tokens: int
) -> PairTokens | None:
    """Tokenize one conversation; prompt tokens are dropped from the left until it fits.

    Returns:
        None when the response and one prompt token do not fit `max_tokens`: the service refuses it too.
    """
    first = tokenizer(render_pair_prompt(prompt), add_special_tokens=False, verbose=False)["input_ids"]
    second = tokenizer(response, add_special_tokens=False, verbose=False)["input_ids"]
    room = max_tokens - len(second) - 3
    excess = max(0, len(first) - room)
    if excess and excess >= len(first):
        return None
    kept = first[excess:]
    prefix = [tokenizer.cls_token_id, *kept, tokenizer.sep_token_id]
    return PairTokens((*prefix, *second, tokenizer.sep_token_id), len(prefix))
