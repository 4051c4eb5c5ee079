"""An evaluation as data: what is asked, how far it is, what it found."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from guerdon_service.core.dataset import Dataset
from guerdon_service.core.evaluation_summary import NOTHING, Summary

EvaluationState = Literal["queued", "running", "done", "failed", "cancelled"]
REPORT_FORMATS = ("html", "markdown", "plain")
"""Forms in which a finished evaluation can be read by people; the first is the default."""
ENDED: tuple[EvaluationState, ...] = ("done", "failed", "cancelled")


@dataclass(frozen=True, slots=True)
class EvaluationQuery:
    """Measure `candidate` on the held-out preferences of `dataset`, against `baseline` when given.

    candidate, baseline: a served name, ``NAME`` or ``NAME@VERSION`` or ``NAME@ALIAS``; pinned to a
        version and digest when the evaluation is created.
    dataset: name of a file below the service's data folder.
    margin: non-inferiority margin in accuracy: how much worse still counts as not worse.
    robustness: pairs whose chosen response is also scored changed in several ways; 0: none.
    """

    candidate: str
    dataset: str
    baseline: str | None = None
    profile: str | None = None
    margin: float = 0.02
    by: str = ""
    robustness: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation, whatever its state. Times are Unix seconds.

    candidate, baseline: pinned as ``NAME@VERSION``; their digests beside them.
    done, total: items scored, over both models; total is 0 until the data is read.
    report: what was found, as plain JSON values; None until `done`, and in lists.
    summary: its headline figures, in lists too.
    """

    id: str
    state: EvaluationState
    query: EvaluationQuery
    candidate: str
    candidate_digest: str
    baseline: str | None
    baseline_digest: str | None
    dataset_sha256: str
    done: int
    total: int
    created_at: float
    error: str | None = None
    report: Mapping[str, Any] | None = None
    summary: Summary = NOTHING


@dataclass(frozen=True, slots=True)
class ItemScores:
    """Scores of one item's responses, in order, under one model; None where the item was refused."""

    item_id: str
    rewards: tuple[float, ...] | None
    stds: tuple[float, ...] | None = None


class EvaluationStore(Protocol):
    """Durable jobs and their per-item scores. Blocking; every method is one transaction."""

    def create(self, evaluation: Evaluation) -> None:
        """Store a queued evaluation."""
        ...

    def get(self, evaluation_id: str) -> Evaluation | None:
        """One evaluation as last stored."""
        ...

    def all(self) -> tuple[Evaluation, ...]:
        """Every evaluation, newest first, without reports but with their summaries."""
        ...

    def claim(self, worker: str, now: float, lease_s: float) -> Evaluation | None:
        """Take one queued evaluation, or a running one whose lease ended, for `lease_s` seconds.

        Of several replicas exactly one gets it.
        """
        ...

    def renew(self, evaluation_id: str, worker: str, now: float, lease_s: float) -> bool:
        """Keep the lease; False when it was lost or the evaluation was cancelled: stop then."""
        ...

    def add_scores(self, evaluation_id: str, worker: str, model: str, scores: Sequence[ItemScores]) -> None:
        """Keep scores of `model` (``NAME@VERSION``, or with what was done to the items after it) and count
        them as done; an item is kept once.
        """
        ...

    def scores(self, evaluation_id: str, model: str) -> dict[str, ItemScores]:
        """All kept scores of one model by item."""
        ...

    def set_total(self, evaluation_id: str, total: int) -> None:
        """How many items there are, over both models."""
        ...

    def finish(self, evaluation_id: str, worker: str, report: Mapping[str, Any]) -> None:
        """Store the report and its summary; the state becomes ``done``."""
        ...

    def fail(self, evaluation_id: str, worker: str, error: str) -> None:
        """The state becomes ``failed``, unless the worker lost its lease: the job is another's then."""
        ...

    def cancel(self, evaluation_id: str) -> None:
        """The state becomes ``cancelled`` unless it ended before."""
        ...


class Evaluator(Protocol):
    """What a transport asks for. Raises only `core.errors`."""

    async def add_dataset(self, name: str, records: Sequence[Mapping[str, Any]]) -> Dataset:
        """Keep preference records as a file of the data folder; a file that is there is never changed."""
        ...

    async def start(self, query: EvaluationQuery) -> Evaluation:
        """Pin the models, check the data set, store the job; `Overloaded` where the caller has many."""
        ...

    async def get(self, evaluation_id: str) -> Evaluation:
        """One evaluation; `UnknownEvaluation` when there is none."""
        ...

    async def all(self) -> tuple[Evaluation, ...]:
        """Every evaluation, newest first."""
        ...

    def follow(self, evaluation_id: str) -> AsyncIterator[Evaluation]:
        """The evaluation whenever it moved on, until it ended."""
        ...

    async def cancel(self, evaluation_id: str) -> Evaluation:
        """Stop it; what was scored is kept."""
        ...

    async def report(self, evaluation_id: str, format: str) -> str:
        """The finished evaluation in one of `REPORT_FORMATS`; `NotReady` before."""
        ...
