"""Conversation to tokens for a policy: what it reads, and what it must learn to write."""

from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from guerdon_service.core.conversation import Message
from guerdon_service.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids, and for each whether it is a target: a token of the assistant's, the end of turn included.

    The first token is never a target: nothing predicts it.
    """

    input_ids: tuple[int, ...]
    is_target: tuple[bool, ...]

    @property
    def num_targets(self) -> int:
        """Tokens that the loss sees."""
        return sum(self.is_target)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message]) -> list[int]:
    """What a policy is asked to continue: the template with its generation prompt, tokenized.

    No special token is added to what the template wrote, as ``apply_chat_template(tokenize=True)`` does.

    Raises:
        InvalidInput: the template refuses these turns.
    """
    return _tokenize(tokenizer, _render(tokenizer, prompt, generation=True))


def encode_example(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], response: str, max_tokens: int
) -> Example | None:
    """Prompt and response, with the response's tokens as targets.

    The response is what the template renders after the rendered prompt. It ends with the EOS: what a template
    puts after it (ChatML's newline) a policy never generates, and where the template has none, one is
    added, or the policy would never learn to stop. Prompt tokens are dropped from the left, after a BOS,
    until all fits `max_tokens`; a response is never cut.

    Returns:
        None when the response and one prompt token do not fit.

    Raises:
        InvalidInput: the template refuses these turns, or rewrites the prompt once a response follows.
    """
    examples = encode_examples(tokenizer, prompt, [response], max_tokens)
    return examples[0] if examples else None


def encode_examples(
    tokenizer: PreTrainedTokenizerBase, prompt: Sequence[Message], responses: Sequence[str], max_tokens: int
) -> list[Example] | None:
    """Several responses to one prompt, as `encode_example`, but cut alike.

    The longest response decides what is left of the prompt for all of them, or a comparison would be between
    answers to different prompts.

    Returns:
        One example per response; None when the longest and one prompt token do not fit.
    """
    head = _render(tokenizer, prompt, generation=True)
    prompt_ids = _tokenize(tokenizer, head)
    encoded = [_response_ids(tokenizer, prompt, head, prompt_ids, response) for response in responses]
    bos = prompt_ids[:1] if prompt_ids[:1] == [tokenizer.bos_token_id] else []
    body = prompt_ids[len(bos) :]
    excess = max(0, len(prompt_ids) + max(map(len, encoded)) - max_tokens)
    if excess and excess >= len(body):
        return None
    kept = (*bos, *body[excess:])
    return [Example((*kept, *ids), (False,) * len(kept) + (True,) * len(ids)) for ids in encoded]


def _response_ids(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[Message],
    head: str,
    prompt_ids: list[int],
    response: str,
) -> list[int]:
    whole = _render(tokenizer, [*prompt, Message("assistant", response)], generation=False)
    if not whole.startswith(head):
        raise InvalidInput(
            "the chat template renders a prompt differently once a response follows it, so the response's "
            "tokens cannot be told apart; use a template whose generation prompt begins the assistant turn",
            param="base",
        )
    ids = _tokenize(tokenizer, whole)
    # generation goes on from prompt_ids; where a merge across the border hides them, the parts are joined
    joined = ids[: len(prompt_ids)] == prompt_ids
    return _ending(
        ids[len(prompt_ids) :] if joined else _tokenize(tokenizer, whole[len(head) :]), tokenizer.eos_token_id
    )


def _ending(ids: list[int], eos: int) -> list[int]:
    if eos not in ids:
        return [*ids, eos]
    last = len(ids) - ids[::-1].index(eos)
    return ids[:last]


def _render(tokenizer: PreTrainedTokenizerBase, turns: Sequence[Message], *, generation: bool) -> str:
    messages = [{"role": m.role, "content": m.content} for m in turns]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=generation)
    except (TemplateError, TypeError) as err:
        raise InvalidInput(
            f"the chat template refuses a conversation with the roles {', '.join(m.role for m in turns)} "
            f"({err}); drop it, or use roles and an order that the template accepts",
            param="data",
        ) from None
    assert isinstance(text, str)
    return text


def _tokenize(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    return ids
