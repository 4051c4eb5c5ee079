"""The seam to whatever compares two responses by looking at both, such as a language model as a judge."""

from typing import Protocol

from guerdon_service.core.conversation import Message


class PairwiseScorer(Protocol):
    """Which of two responses to one prompt is better. What it says may depend on their order."""

    @property
    def name(self) -> str:
        """The name that requests give."""
        ...

    async def p_first(self, prompt: tuple[Message, ...], first: str, second: str) -> float | None:
        """Probability that `first` is better, in [0, 1]; None where it says neither.

        Raises:
            Overloaded: it asks to come back later.
            BackendFailed: it cannot answer (now).
            InvalidInput: the two responses do not fit it.
        """
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...
