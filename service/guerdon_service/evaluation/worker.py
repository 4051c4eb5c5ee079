"""Work on evaluations: claim one, score, measure, store; keep the lease meanwhile."""

import asyncio
import logging
import secrets
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from guerdon_service.core.errors import GuerdonError, InvalidInput, NotReady, UnknownModel
from guerdon_service.core.evaluation import Evaluation, EvaluationStore, ItemScores
from guerdon_service.evaluation.build_report import Data, build_report
from guerdon_service.evaluation.contender import ContenderScorer
from guerdon_service.evaluation.dataset import MissingDataset, dataset_path
from guerdon_service.evaluation.pinning import KeepLoaded
from guerdon_service.evaluation.pulse import Pulse
from guerdon_service.evaluation.read import data_sha256, read_items
from guerdon_service.evaluation.report import to_json
from guerdon_service.evaluation.robustness import probes
from guerdon_service.scoring.service import ScoringService

MAX_WAIT_S = 86_400.0
"""How long a job waits for a data set that is not here, or a model that is neither loaded nor registered, or
whose artifact is missing or came damaged, in seconds after its creation."""

log = logging.getLogger(__name__)


class Worker:
    """One evaluation at a time, for as long as `run` runs."""

    def __init__(
        self,
        scoring: ScoringService,
        store: EvaluationStore,
        folder: Path,
        keep_loaded: KeepLoaded,
        pulse: Pulse,
        *,
        lease_s: float,
        poll_s: float,
    ) -> None:
        self._scoring = scoring
        self._store = store
        self._folder = folder
        self._keep_loaded = keep_loaded
        self._pulse = pulse
        self._lease_s = lease_s
        self._poll_s = poll_s
        self._name = secrets.token_hex(8)
        self._jobs: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until cancelled; a job that is cut short stays claimed until its lease ends."""
        while True:
            beat = self._pulse.next()
            try:
                claimed = await asyncio.to_thread(self._store.claim, self._name, time.time(), self._lease_s)
                if claimed is not None:
                    async with AsyncExitStack() as loaded:  # goes at the end: an open job needs it
                        await self._work(claimed, loaded)
                    continue
            except NotReady as err:  # the store is away: what is done is kept, and the lease ends by itself
                log.warning("the evaluation store does not answer", extra={"reason": err.message})
            except Exception:  # whatever it is, it must not end the work
                log.exception("evaluation worker")
            await beat.wait(self._poll_s)

    def stop(self, evaluation_id: str) -> None:
        """Stop a job of this worker, if it has it."""
        if job := self._jobs.get(evaluation_id):
            job.cancel()

    async def _work(self, claimed: Evaluation, loaded: AsyncExitStack) -> None:
        """Run the job and renew its lease; whoever lost it stops."""
        job = self._jobs[claimed.id] = asyncio.create_task(self._finish_or_fail(claimed, loaded))
        try:
            while not (await asyncio.wait({job}, timeout=self._lease_s / 3))[0]:
                if not await self._holds(claimed.id):
                    return
            if not job.cancelled():
                job.result()
        finally:
            job.cancel()
            await asyncio.gather(job, return_exceptions=True)
            del self._jobs[claimed.id]
            self._pulse.beat()

    async def _holds(self, evaluation_id: str) -> bool:
        return await asyncio.to_thread(
            self._store.renew, evaluation_id, self._name, time.time(), self._lease_s
        )

    async def _finish_or_fail(self, claimed: Evaluation, loaded: AsyncExitStack) -> None:
        """What may be otherwise later, or on another replica, is left to whoever claims it once the lease
        has ended; nobody else is to blame for it.
        """
        try:
            await self._run(claimed, loaded)
        except NotReady as err:
            log.warning("evaluation put off", extra={"evaluation": claimed.id, "reason": err.message})
        except (UnknownModel, MissingDataset) as err:
            log.warning("evaluation put off", extra={"evaluation": claimed.id, "reason": err.message})
            if time.time() - claimed.created_at > MAX_WAIT_S:
                await self._fail(claimed.id, err.message)
        except GuerdonError as err:
            log.warning("evaluation failed", extra={"evaluation": claimed.id, "reason": err.message})
            await self._fail(claimed.id, err.message)
        except Exception:
            log.exception("evaluation failed", extra={"evaluation": claimed.id})
            await self._fail(claimed.id, "internal error; the service's log has it")

    async def _fail(self, evaluation_id: str, error: str) -> None:
        await asyncio.to_thread(self._store.fail, evaluation_id, self._name, error)

    async def _run(self, claimed: Evaluation, loaded: AsyncExitStack) -> None:
        path = dataset_path(self._folder, claimed.query.dataset)
        data = Data((path,), claimed.dataset_sha256)
        await asyncio.to_thread(_check_unchanged, data)
        models = [(claimed.query.candidate, claimed.candidate, claimed.candidate_digest)]
        if claimed.query.baseline and claimed.baseline and claimed.baseline_digest:
            models.append((claimed.query.baseline, claimed.baseline, claimed.baseline_digest))
        num_items = await asyncio.to_thread(_num_scored, data, claimed.query.robustness)
        await asyncio.to_thread(self._store.set_total, claimed.id, num_items * len(models))
        keep = partial(self._keep, claimed.id)
        scorer = ContenderScorer(self._scoring, self._store, self._keep_loaded, loaded, claimed, data, keep)
        contenders = [await scorer.score(*model) for model in models]
        baseline = contenders[1] if len(contenders) > 1 else None
        report = await asyncio.to_thread(build_report, data, contenders[0], baseline, claimed.query.margin)
        await asyncio.to_thread(_check_unchanged, data)  # it was read several times
        await asyncio.to_thread(self._store.finish, claimed.id, self._name, to_json(report))

    async def _keep(self, evaluation_id: str, key: str, scores: list[ItemScores]) -> None:
        await asyncio.to_thread(self._store.add_scores, evaluation_id, self._name, key, scores)
        self._pulse.beat()


def _num_scored(data: Data, robustness: int) -> int:
    """Items that each model is asked, changed ones included."""
    return sum(1 for _ in read_items(data.files)) + sum(1 for _ in probes(data.files, robustness))


def _check_unchanged(data: Data) -> None:
    """Raise `InvalidInput` where the files are not what they were when the evaluation was started."""
    if data_sha256(data.files) != data.sha256:
        name = data.files[0].name
        raise InvalidInput(f"dataset {name} has changed since; start a new evaluation", param="dataset")
