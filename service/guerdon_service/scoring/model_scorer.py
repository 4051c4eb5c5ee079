"""One loaded model: encode -> look up -> forward -> store."""

import asyncio
import os
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from guerdon_service.core.artifact import LoadedModel
from guerdon_service.core.conversation import Conversation
from guerdon_service.core.encoded import Encoded
from guerdon_service.core.fingerprint import fingerprints
from guerdon_service.core.limits import Limits
from guerdon_service.core.ports import Cache, Observer, RawScores
from guerdon_service.core.query import Lane
from guerdon_service.engine.engine import Engine
from guerdon_service.scoring.at_once import at_once
from guerdon_service.scoring.encoded_memo import EncodedMemo, Known
from guerdon_service.scoring.profiled import Profiled, profiled

ENCODE_CHUNK = 32
"""Conversations that one task of the tokenizing pool takes: amortises its hand-over, keeps cores busy."""
ENCODE_THREADS = min(8, os.cpu_count() or 1)
"""Of the tokenizing pool: tokenizers free the GIL, but beyond 8 the loop that feeds them is the limit. Of one
request as many tasks are with the pool at a time, so that another's never waits for a long one's end."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A conversation to score, with the paths of its fields in the request."""

    conversation: Conversation
    prompt_param: str
    response_param: str


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Raw scores of a request's entries, in order. Times in seconds."""

    raw: list[RawScores]
    encoded: list[Encoded]
    cached: list[bool]
    tokenize_s: float
    queue_s: float
    forward_s: float


class ModelScorer:
    """Raw scores of conversations under one model."""

    def __init__(
        self,
        model: LoadedModel,
        limits: Limits,
        cache: Cache,
        pool: Executor,
        observer: Observer,
        label: str,
    ) -> None:
        self.model = model
        self.label = label
        """What measurements call it: its name, or ``NAME@VERSION`` of a version loaded beside."""
        self.engine = Engine(label, model.backend, limits, observer)
        self._cache = cache
        self._memo = EncodedMemo()
        self._pool = pool
        self._observer = observer
        self._identity = model.identity
        self._profiled: dict[str | None, Profiled] = {}

    def under(self, profile: str | None) -> Profiled:
        """The model under a profile, None being its default one.

        Raises:
            InvalidInput: it defines no such profile.
        """
        found = self._profiled.get(profile)
        if found is None:
            found = self._profiled[profile] = profiled(self.model, profile)
        return found

    def at_hand(self, entries: Sequence[Entry], tenant: str) -> RawBatch | None:
        """What `raw` gives, where this process knows all of it and nothing is to be waited for; else None."""
        started = time.monotonic()
        with self._observer.span("at hand", items=len(entries)):
            known = []
            for entry in entries:
                found = self._memo.get(tenant, entry.conversation)
                if found is None:
                    return None
                known.append(found)
            tokenize_s = time.monotonic() - started
            raw = self._cache.at_hand([k.fingerprint for k in known], self.model.backend.num_heads)
        if raw is None:
            return None
        self._observer.tokenized(self.label, len(entries), tokenize_s)
        return RawBatch(raw, [k.encoded for k in known], [True] * len(raw), tokenize_s, 0.0, 0.0)

    async def raw(self, entries: Sequence[Entry], *, tenant: str, lane: Lane, deadline: float) -> RawBatch:
        """Score all entries.

        Args:
            deadline: monotonic seconds.

        Raises:
            GuerdonError: any of `InputTooLong`, `Overloaded`, `NotReady`, `BackendFailed`.
        """
        started = time.monotonic()
        with self._observer.span("tokenize", items=len(entries)):
            known = await self._known(entries, tenant, lane, deadline)
        tokenize_s = time.monotonic() - started
        self._observer.tokenized(self.label, len(entries), tokenize_s)
        encoded, keys = [k.encoded for k in known], [k.fingerprint for k in known]
        with self._observer.span("look up", items=len(keys)):
            found = await self._cache.get_many(keys, self.model.backend.num_heads)
        missing = [i for i, hit in enumerate(found) if hit is None]
        cached = [hit is not None for hit in found]
        if not missing:
            return RawBatch([h for h in found if h is not None], encoded, cached, tokenize_s, 0.0, 0.0)
        with self._observer.span("queue and forward", model=self.label, items=len(missing)):
            scores = await self.engine.score(
                [encoded[i] for i in missing],
                [keys[i] for i in missing],
                deadline=deadline,
                lane=lane,
                tenant=tenant,
            )
        computed = dict(zip(missing, scores.raw, strict=True))
        self._cache.put_many([(keys[i], row) for i, row in computed.items()])
        raw = [hit if hit is not None else computed[i] for i, hit in enumerate(found)]
        return RawBatch(raw, encoded, cached, tokenize_s, scores.queue_s, scores.forward_s)

    async def _known(self, entries: Sequence[Entry], tenant: str, lane: Lane, deadline: float) -> list[Known]:
        """Tokens and fingerprints of all entries; only what the memo lacks is tokenized.

        Bulk work, which seldom asks twice, is not remembered: it would push out what interactive work does.
        """
        known = [self._memo.get(tenant, e.conversation) for e in entries]
        fresh = [i for i, k in enumerate(known) if k is None]
        if fresh:
            asked = [entries[i] for i in fresh]
            encoded = await self.encode(asked, tenant=tenant, lane=lane, deadline=deadline)
            keys = fingerprints(self._identity, tenant, encoded)
            for i, tokens, key in zip(fresh, encoded, keys, strict=True):
                found = known[i] = Known(tokens, key)
                if lane is Lane.INTERACTIVE:
                    self._memo.put(tenant, entries[i].conversation, found)
        return [k for k in known if k is not None]

    async def encode(
        self, entries: Sequence[Entry], *, tenant: str, lane: Lane, deadline: float
    ) -> list[Encoded]:
        """Tokens of all entries, in the pool.

        Args:
            deadline: monotonic seconds.

        Raises:
            Overloaded: there would be no room for them; none was tokenized.
            InputTooLong: a response alone does not fit the model.
        """
        num_new = len({entry.conversation for entry in entries})
        self.engine.check_room(num_new, deadline=deadline, lane=lane, tenant=tenant)
        if len(entries) <= ENCODE_CHUNK:
            return await self._in_pool(entries)
        chunks = [entries[i : i + ENCODE_CHUNK] for i in range(0, len(entries), ENCODE_CHUNK)]
        encoded = await at_once(lambda i: self._in_pool(chunks[i]), len(chunks), ENCODE_THREADS)
        return [item for chunk in encoded for item in chunk]

    async def close(self) -> None:
        """Answer what waits and free the model."""
        await self.engine.close()

    def _in_pool(self, chunk: Sequence[Entry]) -> asyncio.Future[list[Encoded]]:
        return asyncio.get_running_loop().run_in_executor(self._pool, self._encode_chunk, chunk)

    def _encode_chunk(self, chunk: Sequence[Entry]) -> list[Encoded]:
        return [self.model.encoder.encode(e.conversation, e.response_param) for e in chunk]
