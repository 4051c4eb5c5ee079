"""`golden.jsonl`: conversations with the raw scores that an artifact must give."""

import json
import math
from dataclasses import dataclass
from typing import Any

from guerdon_service.core.artifact import Artifact
from guerdon_service.core.conversation import Conversation, Message, check_conversation
from guerdon_service.core.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Golden:
    """One line: ``{"prompt": text or [{"role", "content"}], "response": text, "raw": [float]}``.

    raw: fp32 reference, one number per head in the order of ``manifest.heads``.
    """

    conversation: Conversation
    raw: tuple[float, ...]


def read_golden(artifact: Artifact) -> tuple[Golden, ...]:
    """Every line of the artifact's `golden.jsonl`; empty where it has none.

    Raises:
        InvalidInput: a line that is malformed; it is named.
    """
    path = artifact.folder / "golden.jsonl"
    if not path.is_file():
        return ()
    lines = enumerate(path.read_text(encoding="utf-8").split("\n"), start=1)
    return tuple(
        _golden(line, number, len(artifact.manifest.heads)) for number, line in lines if line.strip()
    )


def _golden(line: str, number: int, num_heads: int) -> Golden:
    param = f"golden.jsonl:{number}"
    try:
        data = json.loads(line)
        raw = tuple(float(value) for value in data["raw"])
        conversation = Conversation.of(_prompt(data["prompt"]), data["response"])
        check_conversation(conversation, f"{param}.prompt", f"{param}.response")
    except (KeyError, TypeError, ValueError, AttributeError) as err:
        raise InvalidInput(
            f"{param} cannot be read ({type(err).__name__}: {err}); write prompt, response and raw",
            param=param,
        ) from err
    if len(raw) != num_heads or not all(map(math.isfinite, raw)):
        raise InvalidInput(
            f"{param}.raw is {raw}; write one finite number for each of {num_heads} heads", param=param
        )
    return Golden(conversation, raw)


def _prompt(prompt: Any) -> str | tuple[Message, ...]:
    return prompt if isinstance(prompt, str) else tuple(Message(m["role"], m["content"]) for m in prompt)
