"""Conversation to the token ids that a policy continues."""

from collections.abc import Sequence

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> list[int]:
    """The chat template with its generation prompt, tokenized; no special token is added to what it wrote.

    Raises:
        InvalidInput: the template refuses these turns.
    """
    messages = [{"role": m.role, "content": m.content} for m in prompt]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except (TemplateError, TypeError) as err:
        raise InvalidInput(
            f"the policy's chat template refuses a conversation with the roles "
            f"{', '.join(m.role for m in prompt)} ({err}); use roles and an order that it accepts",
            param="messages",
        ) from None
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids
