"""What a policy gives: responses sampled for a prompt."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from guerdon_service.core.conversation import Message
from guerdon_service.core.statistics.arrays import Floats

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


@dataclass(frozen=True, slots=True)
class TokenLogProbs:
    """Tokens of one response, and their log-probabilities at temperature 1 in nats: float64 [tokens]."""

    ids: tuple[int, ...]
    values: Floats


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
            Overloaded: it takes no more now; nothing was yielded.
            BackendFailed: the policy cannot answer (now); what was yielded before stays good.
        """
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


@runtime_checkable
class LogProbs(Protocol):
    """A policy that can also say how likely responses are: an embedded one."""

    async def logprobs(
        self, prompt: tuple[Message, ...], responses: Sequence[Generated]
    ) -> list[TokenLogProbs]:
        """Of each response's text, then of the token that ended it, if known."""
        ...
