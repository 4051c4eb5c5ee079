"""The seam between transports and the domain layer, and what transports report."""

from contextlib import AbstractContextManager
from typing import Protocol

from guerdon_service.core.artifact import ModelInfo
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.query import CompareQuery, RankQuery, ScoreQuery
from guerdon_service.core.result import CompareResult, RankResult, ScoreResult


class Scorer(Protocol):
    """What a transport asks of the domain layer. Each method raises only `core.errors`."""

    async def score(self, query: ScoreQuery) -> ScoreResult:
        """Score each item on its own."""
        ...

    async def compare(self, query: CompareQuery) -> CompareResult:
        """Probability that a is preferred to b, for each pair."""
        ...

    async def rank(self, query: RankQuery) -> RankResult:
        """Order candidates, best first."""
        ...

    async def token_ids(self, query: ScoreQuery) -> tuple[tuple[int, ...], ...]:
        """Token ids that each conversation is scored from, in order."""
        ...

    def models(self) -> tuple[ModelInfo, ...]:
        """Every model that is loaded, loading or failed."""
        ...

    def model(self, name: str) -> ModelInfo:
        """One of them."""
        ...

    def manifest(self, name: str) -> Manifest:
        """The manifest of one of them."""
        ...

    def batch_tokens(self, name: str) -> int:
        """Tokens that one batch of one of them may have."""
        ...

    async def unload_model(self, name: str) -> None:
        """Let one go once its queue is empty."""
        ...

    def is_ready(self) -> bool:
        """Whether requests can be answered now."""
        ...

    def unready_reason(self) -> str:
        """Why not; empty when ready."""
        ...

    def begin_drain(self) -> None:
        """Refuse new requests with `NotReady`; those under way go on."""
        ...

    async def close(self) -> None:
        """Let every model go."""
        ...


class TransportObserver(Protocol):
    """Where the transports' measurements go, and where `/metrics` comes from."""

    def under_way(self, transport: str, trace_id: str) -> AbstractContextManager[None]:
        """Within, a call is at work, as a part of that trace where tracing is on."""
        ...

    def request(
        self,
        verb: str,
        transport: str,
        code: str,
        seconds: float,
        *,
        request_id: str = "",
        trace_id: str = "",
    ) -> None:
        """A call ended. `transport` is ``rest`` or ``grpc``, `code` ``ok`` or an error's code."""
        ...

    def exposition(self, accept: str) -> tuple[bytes, str]:
        """All metrics and their content type: OpenMetrics where `accept` asks for it, else the plain text."""
        ...
