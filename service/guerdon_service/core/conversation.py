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
        return len(self.response) + sum(len(m.content) for m in self.prompt)

    @staticmethod
    def of(prompt: str | tuple[Message, ...], response: str) -> "Conversation":
        """Build one; a string prompt is a single user turn."""
        turns = (Message("user", prompt),) if isinstance(prompt, str) else prompt
        return Conversation(turns, response)


def check_conversation(conversation: Conversation, param: str) -> None:
    """Refuse what no tokenizer should see.

    Raises:
        InvalidInput: no turn before the response, an unknown role, an empty prompt or response, or
            text that is not valid Unicode (lone surrogates).
    """
    if not conversation.prompt:
        raise InvalidInput(f"{param}.prompt is empty; give a prompt or messages", param=f"{param}.prompt")
    for i, message in enumerate(conversation.prompt):
        if message.role not in ROLES:
            raise InvalidInput(
                f"{param}.messages[{i}].role is {message.role!r}; use one of {', '.join(ROLES)}",
                param=f"{param}.messages[{i}].role",
            )
        _check_unicode(message.content, f"{param}.prompt")
    if not any(m.content for m in conversation.prompt):
        raise InvalidInput(f"{param}.prompt is empty; give the text to respond to", param=f"{param}.prompt")
    if not conversation.response:
        raise InvalidInput(f"{param}.response is empty; give the text to score", param=f"{param}.response")
    _check_unicode(conversation.response, f"{param}.response")


def _check_unicode(text: str, param: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as err:
        raise InvalidInput(
            f"{param} holds a lone surrogate at character {err.start}; send valid Unicode", param=param
        ) from None
