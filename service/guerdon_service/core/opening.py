"""The opening of a prompt: by it prompts are told to be one, and kept in one split."""

import re
from collections.abc import Sequence

from guerdon_service.core.conversation import Message

_NOT_WORD = re.compile(r"[\W_]+")


def opening(prompt: Sequence[Message]) -> str:
    """First user turn, case and punctuation folded; less its space where it has nothing else, as emoji."""
    first = next((m.content for m in prompt if m.role == "user"), "")
    return _NOT_WORD.sub(" ", first.lower()).strip() or " ".join(first.split())
