"""Text to conversations: clients of other servers send what a chat template has already rendered.

A reward model's own template renders every conversation here, so a text is read back into turns first.
Nothing is guessed: a text in no known markup is refused where its prompt and response cannot be told apart.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt that was read once, for any number of responses.

    begun: text of the assistant's turn that responses go on with, in `markup`; "" where none has begun.
    """

    turns: tuple[Message, ...]
    begun: str = ""
    markup: re.Pattern[str] | None = None

    def answered(self, response: str, param: str) -> Conversation:
        """The conversation of these turns and `response`.

        Raises:
            InvalidInput: it goes on with the assistant's turn, and both together are in no markup.
        """
        if self.markup is None:
            return Conversation(self.turns, without_end(response))
        return _conversation(self.turns, _turns_by(self.markup, self.begun + response), param)


def read_prompt(text: str) -> Prompt:
    """A prompt, plain or in one of the known markups."""
    turns = _turns(text)
    if not turns:
        return Prompt((Message("user", text),))
    last = turns[-1]
    if _message(last).role != "assistant":
        return Prompt(tuple(map(_message, turns)))
    return Prompt(tuple(map(_message, turns[:-1])), last.string[last.start() :], last.re)


def of_text(text: str, param: str) -> Conversation:
    """The conversation that `text` holds in one of the known markups.

    Raises:
        InvalidInput: it holds none, or one that does not end with the assistant.
    """
    return _conversation((), _turns(text), param)


def of_pair(prompt: str, response: str, param: str) -> Conversation:
    """The conversation of a prompt, plain or in one of the known markups, and what follows it."""
    return read_prompt(prompt).answered(response, param)


def of_continued(text: str, prompt: str | None, param: str) -> Conversation:
    """The conversation of a text that begins with `prompt`; without one, what the text alone tells.

    Special tokens of the sequence's start, which only one of the two may carry, are passed over.
    """
    if prompt:
        whole, start = _without_start(text), _without_start(prompt)
        if whole.startswith(start):
            return of_pair(start, whole[len(start) :], param)
    return of_text(text, param)


def _conversation(before: tuple[Message, ...], turns: Sequence[re.Match[str]], param: str) -> Conversation:
    """Of `turns` after those `before`, which are not copied: many conversations may share them."""
    more = tuple(map(_message, turns))
    if not more or not (before or more[1:]) or more[-1].role != "assistant":
        raise InvalidInput(
            f"{param} has no prompt and response that could be told apart; send both apart, messages, or a "
            "text in ChatML, Llama 3, Gemma or Human/Assistant markup that ends with the assistant's turn",
            param=param,
        )
    return Conversation(before + more[:-1] if more[1:] else before, more[-1].content)


def _message(turn: re.Match[str]) -> Message:
    role = _ROLES.get(turn["role"], turn["role"])
    return Message(role, turn["content"].removeprefix(_NO_THOUGHT))


def _turns(text: str) -> list[re.Match[str]]:
    """Turns that cover all of `text`; none when no markup does."""
    text = _without_start(text)
    for markup in _MARKUPS:
        if markup.match(text):
            return _turns_by(markup, text)
    return []


def _turns_by(markup: re.Pattern[str], text: str) -> list[re.Match[str]]:
    turns: list[re.Match[str]] = []
    end = 0
    while end < len(text):
        found = markup.match(text, end)
        if found is None:
            return turns if _is_end(text[end:]) else []
        turns.append(found)
        end = found.end()
    return turns


def _is_end(rest: str) -> bool:
    return not without_end(rest).strip()


def _without_start(text: str) -> str:
    return next((text.removeprefix(start) for start in _STARTS if text.startswith(start)), text)


def without_end(text: str) -> str:
    """`text` without the special token that ended its generation."""
    return next((text.removesuffix(end) for end in _ENDS if text.endswith(end)), text)
