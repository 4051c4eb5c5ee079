"""Evaluations as one caller sees them: whose they are not learns nothing of them."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerdon_service.core.call import Call
from guerdon_service.core.dataset import Dataset
from guerdon_service.core.errors import InvalidInput, UnknownEvaluation
from guerdon_service.core.evaluation import REPORT_FORMATS, Evaluation, EvaluationQuery, Evaluator
from guerdon_service.core.streams import closed_after


@dataclass(frozen=True, slots=True)
class VisibleEvaluations:
    """`core.evaluation.Evaluator` of those that the caller started; an admin sees, and cancels, all.

    Another's is unknown, like one that never was: reports quote the data and name the models.
    """

    inner: Evaluator
    call: Call

    async def add_dataset(self, name: str, records: Sequence[Mapping[str, Any]]) -> Dataset:
        """See `Evaluator.add_dataset`."""
        return await self.inner.add_dataset(name, records)

    async def start(self, query: EvaluationQuery) -> Evaluation:
        """See `Evaluator.start`."""
        return await self.inner.start(query)

    async def get(self, evaluation_id: str) -> Evaluation:
        """See `Evaluator.get`."""
        found = await self.inner.get(evaluation_id)
        if not self._is_seen(found):
            raise unknown_evaluation(evaluation_id)
        return found

    async def all(self) -> tuple[Evaluation, ...]:
        """See `Evaluator.all`."""
        return tuple(evaluation for evaluation in await self.inner.all() if self._is_seen(evaluation))

    async def follow(self, evaluation_id: str) -> AsyncGenerator[Evaluation]:
        """See `Evaluator.follow`."""
        await self.get(evaluation_id)
        async with closed_after(self.inner.follow(evaluation_id)) as states:
            async for state in states:
                yield state

    async def cancel(self, evaluation_id: str) -> Evaluation:
        """See `Evaluator.cancel`."""
        await self.get(evaluation_id)
        return await self.inner.cancel(evaluation_id)

    async def report(self, evaluation_id: str, format: str) -> str:
        """See `Evaluator.report`; `InvalidInput` for another format."""
        if format not in REPORT_FORMATS:
            raise InvalidInput(
                f"format is {format[:80]!r}; give one of {', '.join(REPORT_FORMATS)}", param="format"
            )
        await self.get(evaluation_id)
        return await self.inner.report(evaluation_id, format)

    def _is_seen(self, evaluation: Evaluation) -> bool:
        return self.call.is_admin or evaluation.query.by == self.call.by


def unknown_evaluation(evaluation_id: str) -> UnknownEvaluation:
    """The one refusal of an id that there is not, or not for this caller."""
    return UnknownEvaluation(
        f"evaluation {evaluation_id[:80]!r} is not known; list them to see which are", param="id"
    )
