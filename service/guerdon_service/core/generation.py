"""What a policy gives: responses sampled for a prompt."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal, Protocol

from guerdon_service.core.conversation import Message

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How responses are drawn. Temperature 0 is greedy; equal seeds give equal responses."""

    max_tokens: int = 128
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Generated:
    """One sampled response; `index` is its place among the n, whatever the order of arrival.

    end_token: id of the token that ended it, where the policy tells: a model may have several.
    """

    index: int
    text: str
    num_tokens: int
    finish_reason: FinishReason
    end_token: int | None = None


class Policy(Protocol):
    """A language model that answers prompts."""

    @property
    def name(self) -> str:
        """The name that requests give."""
        ...

    @property
    def digest(self) -> str:
        """What its responses depend on besides the request; empty for a remote one that does not tell."""
        ...

    def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncIterator[Generated]:
        """Sample n responses, each as soon as it is finished. Closing the iterator stops the work.

        Raises:
            InvalidInput: the prompt does not fit the policy.
            BackendFailed: the policy cannot answer (now); what was yielded before stays good.
        """
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...
