"""Evaluations as durable jobs: `core.evaluation.Evaluator` over an `EvaluationStore`."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Any

from guerdon_service.core.dataset import Dataset
from guerdon_service.core.errors import InvalidInput, NotReady, Overloaded
from guerdon_service.core.evaluation import ENDED, Evaluation, EvaluationQuery, EvaluationStore
from guerdon_service.core.result import Provenance
from guerdon_service.core.visible_evaluations import unknown_evaluation
from guerdon_service.evaluation.add_dataset import add_dataset
from guerdon_service.evaluation.compare import check_margin
from guerdon_service.evaluation.dataset import dataset_path
from guerdon_service.evaluation.html import report_html
from guerdon_service.evaluation.markdown import report_markdown
from guerdon_service.evaluation.pinning import KeepLoaded, nothing_registered, pinned
from guerdon_service.evaluation.plain import report_plain
from guerdon_service.evaluation.pulse import Pulse
from guerdon_service.evaluation.read import data_sha256
from guerdon_service.evaluation.robustness import check_robustness
from guerdon_service.evaluation.score import Asked
from guerdon_service.evaluation.worker import Worker
from guerdon_service.scoring.service import ScoringService

POLL_S = 1.0
"""How often to look for what other replicas did, in seconds; what this one does is known at once."""
LEASE_S = 30.0
"""A job whose replica was killed goes on after this many seconds elsewhere."""
MAX_OPEN = 8
"""Jobs of one tenant that wait or are at work, as those of all wait in one queue. Replicas that are asked at
once may take a few more."""
BUSY_MS = 5000
"""Until a caller who has as many asks again."""


class EvaluationService:
    """Start, follow, cancel and show evaluations; `run` works on them. For one event loop."""

    def __init__(
        self,
        scoring: ScoringService,
        store: EvaluationStore,
        data_folder: Path,
        keep_loaded: KeepLoaded = nothing_registered,
        *,
        lease_s: float = LEASE_S,
        poll_s: float = POLL_S,
    ) -> None:
        """`keep_loaded` loads versions that are registered and not loaded here."""
        self._scoring = scoring
        self._store = store
        self._folder = data_folder
        self._keep_loaded = keep_loaded
        self._poll_s = poll_s
        self._storing = asyncio.Lock()
        self._pulse = Pulse()
        self._worker = Worker(
            scoring, store, data_folder, keep_loaded, self._pulse, lease_s=lease_s, poll_s=poll_s
        )

    async def run(self) -> None:
        """Work on queued evaluations, one at a time, until cancelled; one that is cut short is left to
        whoever claims it next.
        """
        await self._worker.run()

    async def add_dataset(self, name: str, records: Sequence[Mapping[str, Any]]) -> Dataset:
        """See `add_dataset.add_dataset`."""
        return await asyncio.to_thread(add_dataset, self._folder, name, records)

    async def start(self, query: EvaluationQuery) -> Evaluation:
        """Pin the models, check the data set exists, store the job.

        Raises:
            InvalidInput: the data set, the margin or `robustness` is wrong, or both models are one version.
            Overloaded: the tenant has `MAX_OPEN` that have not ended.
            GuerdonError: a model or profile is unknown or not ready.
        """
        check_margin(query.margin)
        check_robustness(query.robustness)
        path = dataset_path(self._folder, query.dataset)
        await self._check_room(query.by)
        async with self._pinned(query.candidate, query) as candidate, self._baseline(query) as baseline:
            if baseline is not None and baseline.digest == candidate.digest:
                raise InvalidInput(
                    f"baseline {pinned_name(baseline)} is the candidate itself; give another version",
                    param="baseline",
                )
            evaluation = Evaluation(
                id=secrets.token_hex(8),
                state="queued",
                query=query,
                candidate=pinned_name(candidate),
                candidate_digest=candidate.digest,
                baseline=pinned_name(baseline) if baseline else None,
                baseline_digest=baseline.digest if baseline else None,
                dataset_sha256=await asyncio.to_thread(data_sha256, [path]),
                done=0,
                total=0,
                created_at=time.time(),
            )
            await self._keep(evaluation)  # from now on the job keeps its versions
        self._pulse.beat()
        return evaluation

    async def get(self, evaluation_id: str) -> Evaluation:
        """One evaluation.

        Raises:
            UnknownEvaluation: there is none.
        """
        found = await asyncio.to_thread(self._store.get, evaluation_id)
        if found is None:
            raise unknown_evaluation(evaluation_id)
        return found

    async def all(self) -> tuple[Evaluation, ...]:
        """Every evaluation, newest first."""
        return await asyncio.to_thread(self._store.all)

    async def follow(self, evaluation_id: str) -> AsyncIterator[Evaluation]:
        """The evaluation now, then whenever it moved on, until it ended.

        Raises:
            UnknownEvaluation: there is none.
        """
        shown = None
        while shown is None or shown.state not in ENDED:
            next_beat = self._pulse.next()
            found = await self.get(evaluation_id)
            if found != shown:
                shown = found
                yield found
            else:
                await next_beat.wait(self._poll_s)

    async def cancel(self, evaluation_id: str) -> Evaluation:
        """Stop it; what was scored is kept. One that ended stays as it is.

        Raises:
            UnknownEvaluation: there is none.
        """
        await self.get(evaluation_id)
        await asyncio.to_thread(self._store.cancel, evaluation_id)
        self._worker.stop(evaluation_id)
        self._pulse.beat()
        return await self.get(evaluation_id)

    async def report(self, evaluation_id: str, format: str) -> str:
        """The finished evaluation as one self-contained page, as Markdown, or as plain text.

        Args:
            format: one of `REPORT_FORMATS`.

        Raises:
            UnknownEvaluation: there is none.
            NotReady: it is not done.
        """
        found = await self.get(evaluation_id)
        if found.report is None:
            why = f": {found.error}" if found.error else "; its report is there once it is done"
            raise NotReady(f"evaluation {evaluation_id} is {found.state}{why}", retry_after_ms=1000)
        writers = {"markdown": report_markdown, "plain": report_plain}
        return await asyncio.to_thread(writers.get(format, report_html), found.report)

    async def _keep(self, evaluation: Evaluation) -> None:
        async with self._storing:
            await self._check_room(evaluation.query.by)  # others may have been stored meanwhile
            await asyncio.to_thread(self._store.create, evaluation)

    async def _check_room(self, by: str) -> None:
        num_open = sum(found.query.by == by and found.state not in ENDED for found in await self.all())
        if num_open >= MAX_OPEN:
            raise Overloaded(
                f"{num_open} evaluations by this caller have not ended; wait for one, or cancel one",
                retry_after_ms=BUSY_MS,
            )

    def _pinned(self, model: str, query: EvaluationQuery) -> AbstractAsyncContextManager[Provenance]:
        return pinned(self._scoring, Asked(model, query.profile, query.by), self._keep_loaded)

    def _baseline(self, query: EvaluationQuery) -> AbstractAsyncContextManager[Provenance | None]:
        return self._pinned(query.baseline, query) if query.baseline else nullcontext()


def pinned_name(model: Provenance) -> str:
    """``NAME@VERSION``."""
    return f"{model.name}@{model.version}"
