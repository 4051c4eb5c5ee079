"""Conversation to the token ids that the service would give its model."""

from collections.abc import Callable
from typing import Any

from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput
from guerdon_service.core.manifest import Manifest
from guerdon_training.encode import PairTokens, encode_pair

Encode = Callable[[Conversation], PairTokens | None]
"""None where the service refuses the conversation: an empty response, or one that does not fit."""


def encoder_of(manifest: Manifest, tokenizer: PreTrainedTokenizerBase) -> Encode:
    """Encoding rule of a reward artifact.

    Raises:
        InvalidInput: a rule that only the service knows; the message says to ask a service instead.
    """
    if manifest.encoding == "pair":
        return _pair_encoder(manifest, tokenizer)
    template = manifest.template or tokenizer.chat_template
    if not isinstance(template, str) or "strftime_now" in template:
        raise InvalidInput(
            f"reward artifact {manifest.name} has no chat template, several, or one that reads the clock; "
            "start guerdon serve with it and give reward.url instead of reward.artifacts",
            param="reward.artifacts",
        )
    return _template_encoder(manifest, tokenizer, template)


def _pair_encoder(manifest: Manifest, tokenizer: PreTrainedTokenizerBase) -> Encode:
    probe = encode_pair(tokenizer, [Message("user", "a")], "a", manifest.max_tokens)
    if probe is None or list(probe.input_ids) != list(tokenizer("a", "a")["input_ids"]):
        raise InvalidInput(
            f"reward artifact {manifest.name} does not pair two texts as [CLS] a [SEP] b [SEP]; start "
            "guerdon serve with it and give reward.url instead of reward.artifacts",
            param="reward.artifacts",
        )

    def encode(conversation: Conversation) -> PairTokens | None:
        if not conversation.response:
            return None
        return encode_pair(tokenizer, conversation.prompt, conversation.response, manifest.max_tokens)

    return encode


def _template_encoder(manifest: Manifest, tokenizer: PreTrainedTokenizerBase, template: str) -> Encode:
    """The whole text through the tokenizer once, BOS exactly once, prompt tokens cut on the left."""
    plain = tokenizer("a", add_special_tokens=False)["input_ids"]
    special = tokenizer("a")["input_ids"]
    own_head = special[: special.index(plain[0])]

    def text_of(turns: tuple[Message, ...], *, generation: bool = False) -> str:
        messages: Any = [{"role": m.role, "content": m.content} for m in turns]
        return str(
            tokenizer.apply_chat_template(
                messages, chat_template=template, tokenize=False, add_generation_prompt=generation
            )
        )

    def encode(conversation: Conversation) -> PairTokens | None:
        if not conversation.response:
            return None
        text = text_of((*conversation.prompt, Message("assistant", conversation.response)))
        tokens = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        ids, ends = tokens["input_ids"], [end for _, end in tokens["offset_mapping"]]
        start = _response_start(text_of, conversation, text)
        written = len(own_head) if own_head and ids[: len(own_head)] == own_head else 0
        written = written or int(bool(ids) and ids[0] == tokenizer.bos_token_id)
        head = ids[:written] or own_head
        split = sum(end <= start for end in ends)
        split = max(written if head else 1, min(split, len(ids) - 1))
        excess = max(0, len(head) + len(ids) - written - manifest.max_tokens)
        if excess and excess >= split - written:
            return None
        prefix = [*head, *ids[written + excess : split]]
        return PairTokens((*prefix, *ids[split:]), len(prefix))

    return encode


def _response_start(text_of: Callable[..., str], conversation: Conversation, text: str) -> int:
    """Characters that any response to this prompt would share."""
    before = text_of(conversation.prompt, generation=True)
    if text.startswith(before):
        return len(before)
    first = conversation.response.lstrip()[:1]
    other = text_of((*conversation.prompt, Message("assistant", "b" if first == "a" else "a")))
    return next((i for i, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), 0)
