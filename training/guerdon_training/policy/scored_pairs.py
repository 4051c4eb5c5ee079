"""Comparisons as the tokens that the service reads, as packed rows and as scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jinja2 import TemplateError
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Conversation
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.template_clock import stop_clock
from guerdon_training.data import PreferencePair
from guerdon_training.policy.encode import Example
from guerdon_training.policy.pairs import ExamplePair
from guerdon_training.policy.plan import packed
from guerdon_training.policy.rows import Row, pack
from guerdon_training.ppo.reward_text import Encode, encoder_of


@dataclass(frozen=True, slots=True)
class ScoreBatch:
    """P pairs in one packed row, each chosen, then rejected."""

    row: Row

    @property
    def num_units(self) -> int:
        """Pairs."""
        return self.row.num_examples // 2


def service_encoder(manifest: Manifest, tokenizer: PreTrainedTokenizerBase) -> Encode:
    """Conversation to the tokens that the service gives the model.

    A clock in the chat template is stopped, in the tokenizer that is saved too.

    Args:
        manifest: as it will be served.

    Raises:
        InvalidInput: there are several templates, or a clock that cannot be stopped.
    """
    if not isinstance(tokenizer.chat_template, str):
        raise InvalidInput("the tokenizer of base has several chat templates; keep one", param="base")
    tokenizer.chat_template = stop_clock(tokenizer.chat_template)
    return encoder_of(manifest, tokenizer)


def encode_text(encode: Encode, text: Conversation, place: str) -> Example | None:
    """A conversation as the service reads it; no token of it is a target.

    Args:
        place: where it stands, for errors.

    Returns:
        None where the service refuses it: a response that does not fit.

    Raises:
        InvalidInput: the chat template refuses its turns.
    """
    try:
        found = encode(text)
    except (TemplateError, TypeError) as err:
        raise InvalidInput(
            f"the chat template refuses the conversation of {place} ({err}); drop it, or use roles and an "
            "order that the template accepts",
            param="data",
        ) from None
    if found is None:
        return None
    return Example(found.input_ids, (False,) * len(found.input_ids))


def encode_pair(encode: Encode, pair: PreferencePair) -> ExamplePair | None:
    """Both conversations; None where the service refuses one.

    Raises:
        InvalidInput: see `encode_text`.
    """
    texts = (Conversation(pair.prompt, response) for response in (pair.chosen, pair.rejected))
    chosen, rejected = (encode_text(encode, text, pair.place or pair.id) for text in texts)
    return None if chosen is None or rejected is None else ExamplePair(chosen, rejected)


def score_batch(pairs: Sequence[ExamplePair]) -> ScoreBatch:
    """Pack `pairs`."""
    return ScoreBatch(pack([e for pair in pairs for e in (pair.chosen, pair.rejected)]))


@torch.no_grad()
def pair_scores(model: nn.Module, pairs: Sequence[ExamplePair], max_row_tokens: int) -> Tensor:
    """Scores of chosen and rejected: float32 [P, 2] on the CPU."""
    found = torch.zeros(len(pairs), 2)
    for row in packed(range(len(pairs)), [p.num_tokens for p in pairs], max_row_tokens):
        found[row] = model(score_batch([pairs[i] for i in row]).row).view(-1, 2).cpu()
    return found
