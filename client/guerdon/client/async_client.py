"""The client's one core: validate, split, send with retries, join."""

import re
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from types import TracebackType

from guerdon.client import decode
from guerdon.client.chunks import plan_chunks
from guerdon.client.encode import encode_candidates, encode_item, encode_pair, encode_prompt, num_bytes
from guerdon.client.gather import gather_bounded
from guerdon.client.retry import Clock, Deadline, RetryPolicy, retrying
from guerdon.errors import GuerdonError, InvalidInput, UnknownModel
from guerdon.transport import Payload, Transport, Verb, open_transport
from guerdon.types import CompareResult, Item, Lane, ModelInfo, Pair, Prompt, RankResult, ScoreResult

CHUNK_BYTES = 4 * 1024 * 1024
"""Half the service's default body limit: room for headers, escapes and a stricter proxy."""
MAX_INT32 = 2**31 - 1
"""Whole numbers on the wire are int32."""


class AsyncClient:
    """Scores, compares and ranks through a Guerdon service. Belongs to one event loop.

    Args:
        target: ``http(s)://host:port`` (REST), ``grpc(s)://host:port`` (gRPC), or a `Transport`.
        api_key: sent as a bearer token; None where the service asks for none.
        timeout_s: seconds for one request; a call that is split or retried may take longer, unless it
            names a `deadline_s`.
        max_retries: further attempts after `Overloaded`, `NotReady` and `ConnectionFailed`; scoring is
            idempotent, so an attempt whose answer was lost does no harm.
        max_concurrency: requests that one call keeps in flight.
        chunk_size: items in one request; longer lists are split.
        clock: time and chance; tests inject their own.

    Every method raises a `GuerdonError`; `deadline_s` bounds the whole call, retries included.
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
        bounds = {"timeout_s": timeout_s > 0, "max_retries": max_retries >= 0}
        bounds |= {"max_concurrency": max_concurrency >= 1, "chunk_size": chunk_size >= 1}
        for name, fine in bounds.items():
            if not fine:
                raise InvalidInput(f"{name} is out of range; give a larger one", param=name)
        self._transport = open_transport(target, api_key) if isinstance(target, str) else target
        self._timeout_s = timeout_s
        self._policy = RetryPolicy(max_retries)
        self._max_concurrency = max_concurrency
        self._chunk_size = chunk_size
        self._clock = clock or Clock()

    async def score(
        self,
        items: Iterable[Item | tuple[Prompt, str]],
        *,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> ScoreResult:
        """Reward of each item, in order.

        Args:
            items: `Item` or (prompt, response) tuples, any number of them.
            model: name of a loaded model; None is the service's default.
            profile: named head weights; None is the model's default.
            lane: ``bulk`` yields to ``interactive``, the default.
            deadline_s: seconds after which the answer is no longer wanted.
        """
        wires = [encode_item(item, f"items[{i}]") for i, item in enumerate(items)]
        options = {"model": model, "profile": profile, "lane": lane}
        return decode.score_result(await self._split("score", "items", "scores", wires, options, deadline_s))

    async def compare(
        self,
        pairs: Iterable[Pair | tuple[Prompt, str, str]],
        *,
        model: str | None = None,
        profile: str | None = None,
        lane: Lane | None = None,
        deadline_s: float | None = None,
    ) -> CompareResult:
        """P(a is preferred to b) of each pair, in order; arguments as in `score`."""
        wires = [encode_pair(pair, f"pairs[{i}]") for i, pair in enumerate(pairs)]
        options = {"model": model, "profile": profile, "lane": lane}
        replies = await self._split("compare", "pairs", "preferences", wires, options, deadline_s)
        return decode.compare_result(replies)

    async def rank(
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
        """The candidates best first, the `top_k` best ones only if given; one request, never split."""
        payload = encode_prompt(prompt, "") | {"candidates": encode_candidates(candidates), "top_k": top_k}
        payload |= {"model": model, "profile": profile, "lane": lane}
        reply = await self._send("rank", payload, self._deadline(deadline_s))
        decode.check_length(reply, "results", min(len(candidates), top_k or len(candidates)))
        return decode.rank_result(reply)

    async def models(self) -> tuple[ModelInfo, ...]:
        """Models that the service holds."""
        reply = await self._send("models", {}, self._deadline(None))
        return tuple(decode.model_info(m) for m in reply.get("models", ()))

    async def model_info(self, name: str | None = None) -> ModelInfo:
        """One model; the default one for None.

        Raises:
            UnknownModel: the service holds none of that name.
        """
        known = await self.models()
        for info in known:
            if info.name == name or (name is None and info.default):
                return info
        names = ", ".join(info.name for info in known) or "none"
        raise UnknownModel(f"model {name!r} is not loaded; loaded are: {names}", param="model")

    async def load_model(
        self,
        name: str,
        source: str,
        *,
        backend: str = "torch",
        dtype: str = "float32",
        device: str = "cpu",
    ) -> ModelInfo:
        """Load a model into the service. REST only, admin scope; tried once.

        Args:
            source: a folder on the service's machine, or a hub id.
        """
        payload = {"name": name, "source": source, "backend": backend, "dtype": dtype, "device": device}
        return decode.model_info(
            await self._send("load_model", payload, self._deadline(None), RetryPolicy(0))
        )

    async def unload_model(self, name: str) -> None:
        """Unload a model. REST only, admin scope; tried once."""
        await self._send("unload_model", {"name": name}, self._deadline(None), RetryPolicy(0))

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def __aenter__(self) -> "AsyncClient":
        """The client itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    def _deadline(self, deadline_s: float | None) -> Deadline:
        if deadline_s is not None and not deadline_s > 0:
            raise InvalidInput(f"deadline_s is {deadline_s}; give a positive number", param="deadline_s")
        return Deadline.after(deadline_s, self._timeout_s, self._clock)

    async def _split(
        self,
        verb: Verb,
        field: str,
        answers: str,
        wires: list[Payload],
        options: Payload,
        deadline_s: float | None,
    ) -> list[Payload]:
        """Replies to all of `wires`, sent as the request's `field`, in order."""
        if not wires:
            raise InvalidInput(f"{field} is empty; give at least one", param=field)
        deadline = self._deadline(deadline_s)
        chunks = plan_chunks([num_bytes(w) for w in wires], self._chunk_size, CHUNK_BYTES)

        async def send(chunk: range) -> Payload:
            try:
                payload = options | {field: wires[chunk.start : chunk.stop]}
                reply = await self._send(verb, payload, deadline)
                decode.check_length(reply, answers, len(chunk))
            except GuerdonError as err:
                raise (_located(err, field, chunk) if len(chunks) > 1 else err) from err.__cause__
            return reply

        jobs: Iterator[Callable[[], Awaitable[Payload]]] = (lambda c=c: send(c) for c in chunks)  # type: ignore[misc]
        return await gather_bounded(jobs, self._max_concurrency)

    async def _send(
        self, verb: Verb, payload: Payload, deadline: Deadline, policy: RetryPolicy | None = None
    ) -> Payload:
        """One request with retries; each attempt tells the service how long its answer is wanted."""
        given = {name: value for name, value in payload.items() if value is not None}
        timed = verb in ("score", "compare", "rank")

        async def attempt(left_s: float) -> Payload:
            deadline_ms = min(max(1, int(left_s * 1000)), MAX_INT32)
            body = given | {"deadline_ms": deadline_ms} if timed else given
            return await self._transport.call(verb, body, left_s)

        return await retrying(attempt, policy or self._policy, deadline, self._clock)


def _located(err: GuerdonError, field: str, chunk: range) -> GuerdonError:
    """The error with its item numbers counted in the caller's list, not in the chunk."""

    def shift(text: str) -> str:
        return re.sub(rf"\b{field}\[(\d+)\]", lambda m: f"{field}[{int(m.group(1)) + chunk.start}]", text)

    moved = type(err)(
        shift(err.message),
        param=None if err.param is None else shift(err.param),
        retry_after_s=err.retry_after_s,
        retryable=err.retryable,
    )
    moved.items = chunk
    return moved
