"""What is scored: a conversation whose last turn is the assistant's response."""

from dataclasses import dataclass

from guerdon_service.core.errors import InvalidInput

ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns before the response, and the response that is scored.

    `prompt` keeps every turn as given; no whitespace is stripped anywhere.
    """

    prompt: tuple[Message, ...]
    response: str

    @property
    def num_chars(self) -> int:
        """Characters in all turns, the response included."""
        total = len(self.response)
        for turn in self.prompt:  # as each request counts each item, a generator would be felt
            total += len(turn.content)
        return total

    @staticmethod
    def of(prompt: str | tuple[Message, ...], response: str) -> "Conversation":
        """Build one; a string prompt is a single user turn."""
        turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        return Conversation(turns, response)


def check_conversation(conversation: Conversation, prompt_param: str, response_param: str) -> None:
    """Refuse what no tokenizer should see.

    Args:
        prompt_param: path of the prompt's field in the request, e.g. ``items[3].prompt``.
        response_param: path of the response's field, e.g. ``pairs[3].a``.

    Raises:
        InvalidInput: no turn before the response, an unknown role, an empty prompt or response, or
            text that is not valid Unicode (lone surrogates).
    """
    is_empty = True
    for i, message in enumerate(conversation.prompt):
        if message.role not in ROLES:
            param = f"{prompt_param.removesuffix('prompt')}messages[{i}].role"
            raise InvalidInput(f"{param} is {message.role!r}; use one of {', '.join(ROLES)}", param=param)
        if message.content:
            is_empty = False
            _check_unicode(message.content, prompt_param)
    if is_empty:
        raise InvalidInput(f"{prompt_param} is empty; give the text to respond to", param=prompt_param)
    if not conversation.response:
        raise InvalidInput(f"{response_param} is empty; give the text to score", param=response_param)
    _check_unicode(conversation.response, response_param)


def _check_unicode(text: str, param: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as err:
        raise InvalidInput(
            f"{param} holds a lone surrogate at character {err.start}; send valid Unicode", param=param
        ) from None
