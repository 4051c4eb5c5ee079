"""One comparison as other formats store it: each side may carry its own copy of the prompt."""

from dataclasses import dataclass

from guerdon_service.core.conversation import Message


@dataclass(frozen=True, slots=True)
class SidePair:
    """A chosen and a rejected response, with the prompt that stands before each.

    In sound data the two prompts are equal; full-transcript formats can break that.
    """

    prompt: tuple[Message, ...]
    rejected_prompt: tuple[Message, ...]
    chosen: str
    rejected: str
