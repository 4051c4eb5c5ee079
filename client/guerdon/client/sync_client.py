"""The synchronous face of `AsyncClient`."""

import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Sequence
from types import TracebackType
from typing import Any, TypeVar

from guerdon.client.async_client import AsyncClient
from guerdon.client.portal import Portal
from guerdon.client.retry import Clock
from guerdon.errors import ConnectionFailed
from guerdon.transport import Transport
from guerdon.types import CompareResult, Item, Lane, ModelInfo, Pair, Prompt, RankResult, ScoreResult

T = TypeVar("T")


class Client:
    """`AsyncClient` for code that does not await; same arguments, methods, results and errors.

    Safe to share between threads. A forked child gets connections of its own at its first call. gRPC's
    library does not survive a fork: such a child is refused instead of hanging.
    """

    def __init__(
        self,
        target: str | Transport,
        *,
        api_key: str | None = None,
        timeout_s: float = 300.0,
        max_retries: int = 5,
        max_concurrency: int = 4,
        chunk_size: int = 256,
        clock: Clock | None = None,
    ) -> None:
        def make() -> AsyncClient:
            return AsyncClient(
                target,
                api_key=api_key,
                timeout_s=timeout_s,
                max_retries=max_retries,
                max_concurrency=max_concurrency,
                chunk_size=chunk_size,
                clock=clock,
            )

        self._make = make
        self._survives_fork = not (isinstance(target, str) and target.startswith("grpc"))
        self._lock = threading.Lock()
        self._inherited: list[object] = []
        self._client, self._portal = make(), Portal()
        self._closed = False

    def score(
        self,
        items: Iterable[Item | tuple[Prompt, str]],
        *,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> ScoreResult:
        """See `AsyncClient.score`."""
        return self._run(
            lambda c: c.score(items, model=model, profile=profile, lane=lane, deadline_s=deadline_s)
        )

    def compare(
        self,
        pairs: Iterable[Pair | tuple[Prompt, str, str]],
        *,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> CompareResult:
        """See `AsyncClient.compare`."""
        return self._run(
            lambda c: c.compare(pairs, model=model, profile=profile, lane=lane, deadline_s=deadline_s)
        )

    def rank(
        self,
        prompt: Prompt,
        candidates: Sequence[str],
        *,
        top_k: int | None = None,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> RankResult:
        """See `AsyncClient.rank`."""
        return self._run(
            lambda c: c.rank(
                prompt,
                candidates,
                top_k=top_k,
                model=model,
                profile=profile,
                lane=lane,
                deadline_s=deadline_s,
            )
        )

    def models(self) -> tuple[ModelInfo, ...]:
        """See `AsyncClient.models`."""
        return self._run(lambda c: c.models())

    def model_info(self, name: str | None = None) -> ModelInfo:
        """See `AsyncClient.model_info`."""
        return self._run(lambda c: c.model_info(name))

    def load_model(
        self, name: str, source: str, *, backend: str = "torch", dtype: str = "float32", device: str = "cpu"
    ) -> ModelInfo:
        """See `AsyncClient.load_model`."""
        return self._run(lambda c: c.load_model(name, source, backend=backend, dtype=dtype, device=device))

    def unload_model(self, name: str) -> None:
        """See `AsyncClient.unload_model`."""
        self._run(lambda c: c.unload_model(name))

    def close(self) -> None:
        """Close the connections and stop the thread; a second time does nothing."""
        if self._closed:
            return
        if self._portal.pid == os.getpid():
            self._portal.run(self._client.close())
        self._closed = True
        self._portal.close()

    def __enter__(self) -> "Client":
        """The client itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def _run(self, call: Callable[[AsyncClient], Coroutine[Any, Any, T]]) -> T:
        if self._closed:
            raise RuntimeError("the client is closed; make a new one")
        if self._portal.pid != os.getpid():
            self._restart()
        return self._portal.run(call(self._client))

    def _restart(self) -> None:
        """Give a forked child its own loop and connections.

        The inherited ones are kept, not closed: they share sockets and the selector with the parent, and
        a finaliser that ran here would reach into them.
        """
        if not self._survives_fork:
            raise ConnectionFailed("gRPC does not survive a fork; spawn the process, or use the http:// URL")
        with self._lock:
            if self._portal.pid != os.getpid():
                self._inherited += [self._client, self._portal]
                self._client, self._portal = self._make(), Portal()
