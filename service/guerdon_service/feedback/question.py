"""What people are asked: a prompt and two texts."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256

from guerdon_service.core.conversation import Message


def question_key(prompt: Sequence[Message], a: str, b: str) -> bytes:
    """32 bytes, equal for the same prompt and two texts, whichever way round."""
    asked = [[asdict(message) for message in prompt], *sorted((a, b))]
    return sha256(json.dumps(asked).encode()).digest()
