"""Evaluations and their per-item scores in SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any

from sqlalchemy import Row, and_, case, desc, insert, or_, select, update

from guerdon_service.core.evaluation import ENDED, Evaluation, EvaluationQuery, ItemScores
from guerdon_service.core.evaluation_summary import summarise, to_summary
from guerdon_service.state.database import Database, insert_new
from guerdon_service.state.decode import decoded
from guerdon_service.state.tables import EVALUATION_SCORES, EVALUATIONS

_JOB = EVALUATIONS.c
_SCORE = EVALUATION_SCORES.c
_COLUMNS = [_JOB[field.name] for field in fields(Evaluation)]
_UNSUMMARISED = case((_JOB.summary.is_(None), _JOB.report)).label("report")
"""Of what a replica finished that is older than summaries: while versions change, both write."""


class SqlEvaluationStore:
    """`core.evaluation.EvaluationStore` on a `Database`. Every method raises `NotReady` in an outage."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, evaluation: Evaluation) -> None:
        """Store a queued evaluation."""
        with self._database.writing() as connection:
            connection.execute(insert(EVALUATIONS).values(**asdict(evaluation)))

    def get(self, evaluation_id: str) -> Evaluation | None:
        """One evaluation as last stored."""
        if "\0" in evaluation_id:  # which no id has, and PostgreSQL would refuse to look for
            return None
        with self._database.reading() as connection:
            row = connection.execute(select(*_COLUMNS).where(_JOB.id == evaluation_id)).one_or_none()
        return _evaluation(row) if row is not None else None

    def all(self) -> tuple[Evaluation, ...]:
        """Every evaluation, newest first, without reports but with their summaries."""
        columns = [c if c.name != "report" else _UNSUMMARISED for c in _COLUMNS]
        with self._database.reading() as connection:
            rows = connection.execute(select(*columns).order_by(desc(_JOB.seq))).all()
        return tuple(replace(_evaluation(row), report=None) for row in rows)

    def claim(self, worker: str, now: float, lease_s: float) -> Evaluation | None:
        """Take the oldest one that is queued, or whose worker let its lease end."""
        is_free = or_(_JOB.state == "queued", and_(_JOB.state == "running", _JOB.lease_until < now))
        oldest = select(_JOB.id).where(is_free).order_by(_JOB.seq).limit(1).with_for_update(skip_locked=True)
        taken = (
            update(EVALUATIONS)
            .where(_JOB.id == oldest.scalar_subquery(), is_free)
            .values(state="running", worker=worker, lease_until=now + lease_s)
            .returning(*_COLUMNS)
        )
        with self._database.writing() as connection:
            row = connection.execute(taken).one_or_none()
        return _evaluation(row) if row is not None else None

    def renew(self, evaluation_id: str, worker: str, now: float, lease_s: float) -> bool:
        """Keep the lease; False when it was lost or the evaluation ended."""
        return self._change_held(evaluation_id, worker, lease_until=now + lease_s)

    def add_scores(self, evaluation_id: str, worker: str, model: str, scores: Sequence[ItemScores]) -> None:
        """Keep scores and count them as done; an item is kept once, and nothing without the lease."""
        held = (_JOB.id == evaluation_id, _JOB.worker == worker, _JOB.state == "running")
        key = {"evaluation_id": evaluation_id, "model": model}
        rows = [key | _columns(scored) for scored in scores]
        with self._database.writing() as connection:
            # The lock of this row keeps another worker out until the scores and their number are in.
            locked = connection.execute(select(_JOB.seq).where(*held).with_for_update()).one_or_none()
            if locked is None or not rows:
                return
            new = insert_new(connection, EVALUATION_SCORES, rows)
            more = update(EVALUATIONS).where(_JOB.id == evaluation_id).values(done=_JOB.done + new)
            connection.execute(more)

    def scores(self, evaluation_id: str, model: str) -> dict[str, ItemScores]:
        """All kept scores of one model by item."""
        wanted = select(_SCORE.item_id, _SCORE.rewards, _SCORE.stds).where(
            _SCORE.evaluation_id == evaluation_id, _SCORE.model == model
        )
        with self._database.reading() as connection:
            return {row.item_id: ItemScores(*row) for row in connection.execute(wanted)}

    def set_total(self, evaluation_id: str, total: int) -> None:
        """How many items there are, over both models."""
        with self._database.writing() as connection:
            connection.execute(update(EVALUATIONS).where(_JOB.id == evaluation_id).values(total=total))

    def finish(self, evaluation_id: str, worker: str, report: Mapping[str, Any]) -> None:
        """Store the report and its summary, unless the lease was lost or the evaluation ended."""
        found = {"report": dict(report), "summary": asdict(summarise(report))}
        self._change_held(evaluation_id, worker, state="done", **found)

    def fail(self, evaluation_id: str, worker: str, error: str) -> None:
        """The state becomes ``failed``, unless the lease was lost or the evaluation ended."""
        self._change_held(evaluation_id, worker, state="failed", error=error)

    def cancel(self, evaluation_id: str) -> None:
        """The state becomes ``cancelled`` unless it ended before."""
        is_open = (_JOB.id == evaluation_id, _JOB.state.not_in(ENDED))
        with self._database.writing() as connection:
            connection.execute(update(EVALUATIONS).where(*is_open).values(state="cancelled"))

    def _change_held(self, evaluation_id: str, worker: str, **values: Any) -> bool:
        held = (_JOB.id == evaluation_id, _JOB.worker == worker, _JOB.state == "running")
        with self._database.writing() as connection:
            return connection.execute(update(EVALUATIONS).where(*held).values(**values)).rowcount == 1


def _columns(scored: ItemScores) -> dict[str, Any]:
    """As `asdict`, which copies every number and took most of the time of storing them."""
    return {"item_id": scored.item_id, "rewards": scored.rewards, "stds": scored.stds}


def _evaluation(row: Row[Any]) -> Evaluation:
    values = row._asdict()
    summary, report = values["summary"], values["report"]
    if summary is None and report is not None:
        values["summary"] = summarise(report)
    else:
        values["summary"] = to_summary(summary)
    return Evaluation(**values | {"query": decoded(EvaluationQuery, values["query"])})
