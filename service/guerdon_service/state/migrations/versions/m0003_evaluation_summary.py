"""The headline figures of evaluations in a column of their own, so that lists need not read reports."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_JOBS = sa.table("evaluations", sa.column("id"), sa.column("report"), sa.column("summary"))


def upgrade() -> None:
    """Add it, and fill it for what is finished."""
    op.add_column("evaluations", sa.Column("summary", sa.Text))
    connection = op.get_bind()
    done = sa.select(_JOBS.c.id).where(_JOBS.c.report.is_not(None))
    for (job,) in connection.execute(done).all():  # reports one by one: together they may be large
        this = _JOBS.c.id == job
        report = json.loads(connection.execute(sa.select(_JOBS.c.report).where(this)).scalar_one())
        summary = json.dumps(_summary(report))
        connection.execute(sa.update(_JOBS).where(this).values(summary=summary))


def _summary(report: dict[str, Any]) -> dict[str, Any]:
    """As it was when this was written: a migration stays as it is."""
    data, comparison = report.get("data") or {}, report.get("comparison") or {}
    return {
        "accuracy": _figure(report.get("accuracy")),
        "num_items": data.get("num_items"),
        "verdict": comparison.get("verdict"),
        "delta": _figure(comparison.get("delta")),
    }


def _figure(value: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else {name: value[name] for name in ("value", "low", "high")}
