"""What every engine runs in each of its processes: slices in, parts out."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from guerdon_service.bulk.cursor import Cursor
from guerdon_service.bulk.output import Output
from guerdon_service.bulk.part import Finished, Outcome, part_bytes
from guerdon_service.bulk.plan import PlannedModel, Slice
from guerdon_service.bulk.records import Row
from guerdon_service.bulk.score import score_rows
from guerdon_service.core.errors import GuerdonError, InvalidInput
from guerdon_service.core.result import Score
from guerdon_service.core.scorer import Scorer

OpenScorer = Callable[[], Awaitable[Scorer]]
"""Makes the domain layer with the one model loaded and certified; pickled, it travels to other processes."""


@dataclass(frozen=True, slots=True)
class Job:
    """All that a worker must know besides its slices. Can be pickled."""

    open_scorer: OpenScorer
    output: str
    model: PlannedModel
    metadata: Mapping[str, str]


class Worker:
    """One loaded model in this process, with an event loop of its own. Not for use inside another loop.

    Raises:
        InvalidInput: the model here is not the planned one, or is refused.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._cursor, self._output = job, Cursor(), Output(job.output)
        self._runner = asyncio.Runner()
        self._scorer: Scorer | None = None
        try:
            self._scorer = self._runner.run(_opened(job))
            _check_planned(self._scorer, job.model)
        except BaseException:
            self.close()
            raise

    def run(self, part: Slice) -> Finished:
        """Read, score and write one slice.

        Raises:
            GuerdonError: one that concerns no single row.
        """
        assert self._scorer is not None, "closed"
        rows = self._cursor.read(part)
        outcomes = self._runner.run(_scored(self._scorer, rows, self._job))
        data = part_bytes(part, rows, outcomes, self._job.metadata)
        return self._output.commit(
            part,
            data,
            num_errors=sum(isinstance(outcome, GuerdonError) for outcome in outcomes),
            num_tokens=sum(outcome.tokens for outcome in outcomes if isinstance(outcome, Score)),
        )

    def close(self) -> None:
        """Free the model."""
        if self._scorer is not None:
            self._runner.run(self._scorer.close())
            self._scorer = None
        self._runner.close()


async def _opened(job: Job) -> Scorer:
    return await job.open_scorer()


async def _scored(scorer: Scorer, rows: Sequence[Row], job: Job) -> list[Outcome]:
    return await score_rows(scorer, rows, job.model.profile)


def _check_planned(scorer: Scorer, planned: PlannedModel) -> None:
    """The model was read again since it was planned, on another machine perhaps."""
    here = scorer.models()[0]
    if (here.version, here.digest) != (planned.version, planned.digest):
        raise InvalidInput(
            f"model {planned.name} is version {here.version} ({here.digest[:12]}) on {os.uname().nodename}, "
            f"planned was {planned.version} ({planned.digest[:12]}); give every worker the same artifact",
            param="--model",
        )
