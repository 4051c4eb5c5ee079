"""Chat completions as other engines write them, read into `Generated`."""

from collections.abc import Mapping
from typing import Any

from guerdon_service.core.generation import FinishReason, Generated


class Completion:
    """One completion with n choices, whole or in pieces.

    Both methods give the choices that are finished now; each choice comes once. They raise `ValueError`,
    `KeyError`, `TypeError` or `AttributeError` on what is no chat completion.
    """

    def __init__(self, n: int) -> None:
        self._open: dict[int, list[str]] = {index: [] for index in range(n)}
        self._n = n

    @property
    def num_missing(self) -> int:
        """Choices that are not finished."""
        return len(self._open)

    def whole(self, body: Mapping[str, Any]) -> list[Generated]:
        """A reply without streaming. With one choice its `usage` is that choice's."""
        usage = body.get("usage") or {}
        num_tokens = int(usage.get("completion_tokens", 0)) if self._n == 1 else 0
        found = []
        for choice in body["choices"]:
            self._pieces(choice).append(choice["message"].get("content") or "")
            found.append(self._finished(choice, num_tokens))
        return found

    def piece(self, chunk: Mapping[str, Any]) -> list[Generated]:
        """One event of a stream."""
        found = []
        for choice in chunk["choices"]:
            text = (choice.get("delta") or {}).get("content") or ""
            if (
                text or choice.get("finish_reason") is not None
            ):  # engines may go on after the end, with nothing
                self._pieces(choice).append(text)
            if choice.get("finish_reason") is not None:
                found.append(self._finished(choice, 0))
        return found

    def _pieces(self, choice: Mapping[str, Any]) -> list[str]:
        index = choice.get("index", 0)
        if index not in self._open:
            raise ValueError(f"choice {index!r} is not awaited")
        return self._open[index]

    def _finished(self, choice: Mapping[str, Any], num_tokens: int) -> Generated:
        index = choice.get("index", 0)
        reason: FinishReason = "length" if choice.get("finish_reason") == "length" else "stop"
        return Generated(index, "".join(self._open.pop(index)), num_tokens, reason)
