"""The one domain layer: what REST, gRPC and in-process callers all call."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from guerdon_service.core.artifact import ModelInfo, ModelSpec
from guerdon_service.core.errors import DeadlineExceeded, GuerdonError, InvalidInput, NotReady
from guerdon_service.core.limits import Limits
from guerdon_service.core.manifest import Manifest
from guerdon_service.core.ports import Observer
from guerdon_service.core.preference import prefer, rank
from guerdon_service.core.query import CompareQuery, Options, RankQuery, ScoreQuery
from guerdon_service.core.result import CompareResult, RankResult, ScoreResult
from guerdon_service.scoring.admission import check_options, compare_entries, rank_entries, score_entries
from guerdon_service.scoring.at_once import at_once
from guerdon_service.scoring.catalog import Catalog
from guerdon_service.scoring.model_scorer import Entry
from guerdon_service.scoring.scored import Scored, of_members, of_model
from guerdon_service.scoring.slot import Slot

TURN_S = 0.005
"""For how long known scores may be given, request after request, before the loop turns, in seconds."""


class ScoringService:
    """Score, compare and rank with the models of a catalog. Safe for concurrent use on one loop."""

    def __init__(self, catalog: Catalog, limits: Limits, observer: Observer) -> None:
        self.limits = limits
        self.catalog = catalog
        self._observer = observer
        self._draining = False
        self._turned_at = 0.0

    async def score(self, query: ScoreQuery) -> ScoreResult:
        """Reward of each conversation, in order.

        Raises:
            GuerdonError: see `guerdon_service.core.errors`.
        """
        scored = await self._scored(score_entries(query, self.limits), query.options)
        return ScoreResult(scored.model, tuple(scored.scores), scored.usage)

    async def compare(self, query: CompareQuery) -> CompareResult:
        """Calibrated P(a preferred to b) of each pair, in order.

        Raises:
            GuerdonError: see `guerdon_service.core.errors`.
        """
        scored = await self._scored(compare_entries(query, self.limits), query.options)
        sides = zip(scored.scores[::2], scored.scores[1::2], strict=True)
        preferences = tuple(prefer(a, b, scored.calibration) for a, b in sides)
        return CompareResult(scored.model, preferences, scored.usage)

    async def rank(self, query: RankQuery) -> RankResult:
        """Candidates best first.

        Raises:
            GuerdonError: see `guerdon_service.core.errors`.
        """
        scored = await self._scored(rank_entries(query, self.limits), query.options)
        return RankResult(scored.model, rank(scored.scores, scored.calibration, query.top_k), scored.usage)

    async def token_ids(self, query: ScoreQuery) -> tuple[tuple[int, ...], ...]:
        """Token ids that each conversation is scored from, special tokens and truncation included.

        Raises:
            GuerdonError: see `guerdon_service.core.errors`; of an ensemble, whose members have their own.
        """
        entries, options = score_entries(query, self.limits), query.options
        slot, deadline_s = self._admitted(options)
        if slot.spec.members:
            raise InvalidInput(
                f"model {slot.spec.name} is an ensemble; name one of its members", param="model"
            )
        deadline = time.monotonic() + deadline_s
        with self._refusals(slot, deadline_s):
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline_s):
                encoded = await slot.ready_scorer().encode(
                    entries, tenant=options.tenant, lane=options.lane, deadline=deadline
                )
        return tuple(tuple(e.input_ids.tolist()) for e in encoded)

    def models(self) -> tuple[ModelInfo, ...]:
        """Every model of the catalog."""
        return self.catalog.infos()

    def model(self, name: str) -> ModelInfo:
        """One model; `UnknownModel` when there is none of that name."""
        return self.catalog.info(name)

    def manifest(self, name: str) -> Manifest:
        """The manifest that one model is served by; `NotReady` while it loads."""
        return self.catalog.resolve(name).ready_scorer().model.manifest

    def batch_tokens(self, name: str) -> int:
        """Token budget of a batch of one model, on its device; of an ensemble the least of its members'."""
        spec = self.catalog.resolve(name).spec
        if spec.members:
            return min(self.batch_tokens(member) for member in spec.members)
        return self.limits.on(spec.first_device).max_batch_tokens

    async def load_model(self, spec: ModelSpec) -> ModelInfo:
        """Load one more model; returns when it is ready."""
        return await self.catalog.load(spec)

    async def unload_model(self, name: str) -> None:
        """Answer what waits for it, then free it."""
        await self.catalog.unload(name)

    def is_ready(self) -> bool:
        """Whether every model can answer and no drain has begun."""
        return not self.unready_reason()

    def unready_reason(self) -> str:
        """Empty when ready."""
        return "the service is draining" if self._draining else self.catalog.unready_reason()

    def begin_drain(self) -> None:
        """Refuse new requests; those already accepted are answered."""
        self._draining = True

    async def close(self) -> None:
        """Free every model, flush the cache."""
        await self.catalog.close()

    async def _scored(self, entries: Sequence[Entry], options: Options) -> Scored:
        """All verbs meet here: resolve the model, keep the deadline, count refusals."""
        slot, deadline_s = self._admitted(options)
        deadline = time.monotonic() + deadline_s
        with self._refusals(slot, deadline_s):
            known = self._at_hand(slot, entries, options)
            if known is not None:
                if time.monotonic() - self._turned_at >= TURN_S:
                    await asyncio.sleep(0)  # asked for without end it must not keep the loop from others
                    self._turned_at = time.monotonic()
                return known
            async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline_s):
                return await self._scored_by(slot, entries, options, deadline)

    def _admitted(self, options: Options) -> tuple[Slot, float]:
        """The model that a request means, which no flip changes from now on, and its deadline in seconds."""
        check_options(options)
        if self._draining:
            raise NotReady("the service is draining; ask another replica", retry_after_ms=1000)
        return self.catalog.resolve(options.model), options.deadline_s or self.limits.default_deadline_s

    @contextmanager
    def _refusals(self, slot: Slot, deadline_s: float) -> Iterator[None]:
        """Within, time that is up is an error of ours, and every error of ours is counted."""
        try:
            yield
        except TimeoutError:
            self._observer.refused(slot.spec.name, DeadlineExceeded.code)
            raise DeadlineExceeded(
                f"deadline_ms of {deadline_s * 1000:.0f} passed before the answer was ready; allow more",
                param="deadline_ms",
            ) from None
        except GuerdonError as err:
            self._observer.refused(slot.spec.name, err.code)
            raise

    def _at_hand(self, slot: Slot, entries: Sequence[Entry], options: Options) -> Scored | None:
        """Where nothing is to be waited for, no timer is needed; None where something is."""
        if slot.spec.members:
            return None
        started = time.monotonic()
        scorer = slot.ready_scorer()
        model = scorer.under(options.profile)
        batch = scorer.at_hand(entries, options.tenant)
        return None if batch is None else of_model(model, batch, time.monotonic() - started)

    async def _scored_by(
        self, slot: Slot, entries: Sequence[Entry], options: Options, deadline: float
    ) -> Scored:
        started = time.monotonic()
        if slot.spec.members:
            slots = [self.catalog.resolve(m) for m in slot.spec.members]
            members = await at_once(
                lambda i: self._scored_by(slots[i], entries, options, deadline), len(slots), len(slots)
            )
            return of_members(slot.spec, members, time.monotonic() - started)
        scorer = slot.ready_scorer()
        model = scorer.under(options.profile)  # refused before any work
        batch = await scorer.raw(entries, tenant=options.tenant, lane=options.lane, deadline=deadline)
        return of_model(model, batch, time.monotonic() - started)
