"""Requests through a transport: retried where that can help, split where a list is long, never past their
deadline."""

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass

from guerdon.client.chunks import plan_chunks
from guerdon.client.decode import check_length, model_of
from guerdon.client.encode import num_bytes
from guerdon.client.gather import gather_bounded
from guerdon.client.one_version import OneVersion
from guerdon.client.retry import Clock, Deadline, RetryPolicy, retrying
from guerdon.errors import GuerdonError, InvalidInput, InvalidReply
from guerdon.transport import Payload, Tls, Transport, Verb, open_transport

CHUNK_BYTES = 4 * 1024 * 1024
"""Half the service's default body limit: room for headers, escapes and a stricter proxy."""
MAX_INT32 = 2**31 - 1
"""Whole numbers on the wire are int32."""
ONCE = RetryPolicy(0)
"""Of requests that change something: a lost answer must not change it twice."""
SHARE = 0.9
"""Of the time left, what best-of-n may take, so that a partial answer still arrives."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What every verb's request goes through."""

    transport: Transport
    timeout_s: float
    policy: RetryPolicy
    max_concurrency: int
    chunk_size: int
    clock: Clock

    def deadline(self, deadline_s: float | None) -> Deadline:
        """A deadline from now.

        Raises:
            InvalidInput: it is not positive.
        """
        if deadline_s is not None and not deadline_s > 0:
            raise InvalidInput(f"deadline_s is {deadline_s}; give a positive number", param="deadline_s")
        return Deadline.after(deadline_s, self.timeout_s, self.clock)

    async def send(
        self,
        verb: Verb,
        payload: Payload,
        deadline: Deadline | None = None,
        policy: RetryPolicy | None = None,
    ) -> Payload:
        """One request with retries; of score, compare and rank each attempt tells how long it is wanted."""
        given = _given(payload)
        timed = verb in ("score", "compare", "rank")

        async def attempt(left_s: float) -> Payload:
            body = given | {"deadline_ms": _milliseconds(left_s)} if timed else given
            return await self.transport.call(verb, body, left_s)

        return await retrying(attempt, policy or self.policy, deadline or self.deadline(None), self.clock)

    async def best_of_n(
        self, payload: Payload, deadline: Deadline, on_candidate: Callable[[Payload], object] | None
    ) -> Payload:
        """The result; with `on_candidate` told of each candidate, and not retried once it was told of one."""
        given = _given(payload)

        async def attempt(left_s: float) -> Payload:
            body = given | {"deadline_ms": _milliseconds(SHARE * left_s)}
            if on_candidate is None:
                return await self.transport.call("best_of_n", body, left_s)
            return await self._streamed(body, left_s, on_candidate)

        return await retrying(attempt, self.policy, deadline, self.clock)

    async def split(
        self,
        verb: Verb,
        field: str,
        answers: str,
        wires: list[Payload],
        options: Payload,
        deadline_s: float | None,
    ) -> list[Payload]:
        """Replies to all of `wires`, sent as the request's `field`, in order; by one version if it can be."""
        if not wires:
            raise InvalidInput(f"{field} is empty; give at least one", param=field)
        deadline = self.deadline(deadline_s)
        chunks = plan_chunks([num_bytes(w) for w in wires], self.chunk_size, CHUNK_BYTES)
        version: OneVersion[Payload] = OneVersion(options["model"], model_of)

        async def send(chunk: range) -> Payload:
            async def ask(model: str | None) -> Payload:
                payload = options | {"model": model, field: wires[chunk.start : chunk.stop]}
                reply = await self.send(verb, payload, deadline)
                check_length(reply, answers, len(chunk))
                return reply

            try:
                return await version.ask(ask)
            except GuerdonError as err:
                raise (_located(err, field, chunk) if len(chunks) > 1 else err) from err.__cause__

        jobs: Iterator[Callable[[], Awaitable[Payload]]] = (lambda c=c: send(c) for c in chunks)  # type: ignore[misc]
        return await gather_bounded(jobs, self.max_concurrency)

    async def _streamed(
        self, body: Payload, left_s: float, on_candidate: Callable[[Payload], object]
    ) -> Payload:
        was_told = False
        result: Payload | None = None
        try:
            async with aclosing(self.transport.stream("best_of_n", body, left_s)) as parts:
                async for part in parts:  # to its end: a stream that was left early costs its connection
                    result = part.get("result", result)
                    if "candidate" in part:
                        was_told = True
                        on_candidate(part["candidate"])
        except GuerdonError as err:
            if result is None:
                err.retryable = err.retryable and not was_told
                raise
        if result is not None:
            return result
        raise InvalidReply("the answer ended before its result; ask again")


def open_sender(
    target: str | Transport,
    api_key: str | None,
    tls: Tls | None,
    timeout_s: float,
    max_retries: int,
    max_concurrency: int,
    chunk_size: int,
    clock: Clock,
) -> Sender:
    """The sender of a client with these arguments.

    Raises:
        InvalidInput: one is out of range, or the URL or a file cannot be used.
    """
    bounds = {"timeout_s": timeout_s > 0, "max_retries": max_retries >= 0}
    bounds |= {"max_concurrency": max_concurrency >= 1, "chunk_size": chunk_size >= 1}
    for name, fine in bounds.items():
        if not fine:
            raise InvalidInput(f"{name} is out of range; give a larger one", param=name)
    transport = open_transport(target, api_key, tls) if isinstance(target, str) else target
    return Sender(transport, timeout_s, RetryPolicy(max_retries), max_concurrency, chunk_size, clock)


def _given(payload: Payload) -> Payload:
    return {name: value for name, value in payload.items() if value is not None}


def _milliseconds(left_s: float) -> int:
    return min(max(1, int(left_s * 1000)), MAX_INT32)


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
