"""The text that encoders see before the response: one rule, shared by training and serving."""

from collections.abc import Sequence

from guerdon_service.core.conversation import Message


def render_pair_prompt(messages: Sequence[Message]) -> str:
    """First text of the `pair` encoding ``tokenizer(prompt, response)``.

    A single user turn is its content exactly; several turns (or one of another role) become lines
    ``role: content`` joined by a newline. No whitespace is stripped.
    """
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].content
    return "\n".join(f"{m.role}: {m.content}" for m in messages)
