"""Text to conversations: clients of other servers send what a chat template has already rendered.

A reward model's own template renders every conversation here, so a text is read back into turns first.
Nothing is guessed: a text in no known markup is refused where its prompt and response cannot be told apart.
"""

import re

from guerdon_service.core.conversation import Conversation, Message
from guerdon_service.core.errors import InvalidInput

_MARKUPS = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"<\|im_start\|>(?P<role>\w+)\n(?P<content>.*?)(?:<\|im_end\|>\n?|\Z)",
        r"<\|start_header_id\|>(?P<role>\w+)<\|end_header_id\|>\n\n(?P<content>.*?)(?:<\|eot_id\|>|\Z)",
        r"<start_of_turn>(?P<role>\w+)\n(?P<content>.*?)(?:<end_of_turn>\n?|\Z)",
        r"\n\n(?P<role>Human|Assistant):[ ]?(?P<content>.*?)(?=\n\n(?:Human|Assistant):|\Z)",
    )
)
"""ChatML (Qwen and many others), Llama 3, Gemma, and the dialogues of Anthropic's HH data."""

_ROLES = {"model": "assistant", "Human": "user", "Assistant": "assistant"}
_STARTS = ("<|begin_of_text|>", "<s>", "<bos>", "<|endoftext|>")
_ENDS = ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>")
_NO_THOUGHT = "<think>\n\n</think>\n\n"
"""What Qwen3's template writes before a last reply without thoughts; it writes it again."""


def of_text(text: str, param: str) -> Conversation:
    """The conversation that `text` holds in one of the known markups.

    Raises:
        InvalidInput: it holds none, or one that does not end with the assistant.
    """
    turns = _turns(text)
    if len(turns) < 2 or turns[-1].role != "assistant":
        raise InvalidInput(
            f"{param} has no prompt and response that could be told apart; send both apart, messages, or a "
            "text in ChatML, Llama 3, Gemma or Human/Assistant markup that ends with the assistant's turn",
            param=param,
        )
    return Conversation(tuple(turns[:-1]), turns[-1].content)


def of_pair(prompt: str, response: str, param: str) -> Conversation:
    """The conversation of a prompt, plain or in one of the known markups, and what follows it."""
    turns = _turns(prompt)
    if not turns:
        return Conversation.of(prompt, without_end(response))
    if turns[-1].role == "assistant":
        return of_text(prompt + response, param)
    return Conversation(tuple(turns), without_end(response))


def of_continued(text: str, prompt: str | None, param: str) -> Conversation:
    """The conversation of a text that begins with `prompt`; without one, what the text alone tells.

    Special tokens of the sequence's start, which only one of the two may carry, are passed over.
    """
    if prompt:
        whole, start = _without_start(text), _without_start(prompt)
        if whole.startswith(start):
            return of_pair(start, whole[len(start) :], param)
    return of_text(text, param)


def _turns(text: str) -> list[Message]:
    """Turns that cover all of `text`; none when no markup does."""
    text = _without_start(text)
    for markup in _MARKUPS:
        if markup.match(text):
            return _turns_by(markup, text)
    return []


def _turns_by(markup: re.Pattern[str], text: str) -> list[Message]:
    turns: list[Message] = []
    end = 0
    while end < len(text):
        found = markup.match(text, end)
        if found is None:
            return turns if _is_end(text[end:]) else []
        role = _ROLES.get(found["role"], found["role"])
        turns.append(Message(role, found["content"].removeprefix(_NO_THOUGHT)))
        end = found.end()
    return turns


def _is_end(rest: str) -> bool:
    return not without_end(rest).strip()


def _without_start(text: str) -> str:
    return next((text.removeprefix(start) for start in _STARTS if text.startswith(start)), text)


def without_end(text: str) -> str:
    """`text` without the special token that ended its generation."""
    return next((text.removesuffix(end) for end in _ENDS if text.endswith(end)), text)
