"""While versions change, replicas of an older one go on beside a newer one: its tables and what it keeps."""

import logging
from typing import Any

import pytest
from sqlalchemy import Table, select, text, update

from guerdon_service.core.audit import AdminAct, RecordedAct
from guerdon_service.core.registry import GateCheck
from guerdon_service.state.audit_store import SqlAuditStore
from guerdon_service.state.candidate_store import SqlCandidateStore
from guerdon_service.state.database import Database
from guerdon_service.state.evaluation_store import SqlEvaluationStore
from guerdon_service.state.feedback_store import SqlFeedbackStore
from guerdon_service.state.migrate import migrate
from guerdon_service.state.registry_store import SqlRegistryStore
from guerdon_service.state.tables import ALIAS_CHANGES, AUDIT_LOG, CANDIDATE_RECORDS, EVALUATIONS, FEEDBACK
from tests.state.test_candidate_store import record
from tests.state.test_evaluation_store import queued
from tests.state.test_feedback_store import feedback
from tests.state.test_registry_store import change, version


def test_tables_of_a_newer_version_are_used_as_they_are(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with database.writing() as connection:
        connection.execute(text("ALTER TABLE evaluations ADD COLUMN later TEXT"))
        connection.execute(text("UPDATE schema_version SET version_num = '9999'"))
    with caplog.at_level(logging.WARNING), database.writing() as connection:
        migrate(connection)
    (logged,) = caplog.records
    assert "of a newer version" in logged.message and logged.revisions == ["9999"]  # type: ignore[attr-defined]
    store = SqlEvaluationStore(database)
    store.create(queued())
    assert store.all() == (queued(),)
    with database.reading() as connection:
        assert connection.execute(text("SELECT version_num FROM schema_version")).scalar_one() == "9999"


def test_what_a_newer_version_keeps_besides_is_left_out(database: Database) -> None:
    registry, evaluations = SqlRegistryStore(database), SqlEvaluationStore(database)
    acts, judged = SqlAuditStore(database), SqlFeedbackStore(database)
    chosen, moved = (
        SqlCandidateStore(database),
        change(None, "1", checks=(GateCheck("identity", True, "as it"),)),
    )
    act = RecordedAct(1.0, AdminAct("ops", "promote_model", "ok", "rest", "r1", {"name": "m"}))
    registry.add_version(version())
    registry.move_alias(moved)
    evaluations.create(queued())
    evaluations.claim("w", 1.0, 1.0)
    evaluations.finish("e1", "w", {"data": {"num_items": 4}})
    acts.add(act)
    judged.add(feedback())
    chosen.add(record())
    finished = evaluations.all()
    for table, name in (
        (ALIAS_CHANGES, "checks"),
        (EVALUATIONS, "query"),
        (EVALUATIONS, "summary"),
        (AUDIT_LOG, "body"),
        (FEEDBACK, "body"),
        (CANDIDATE_RECORDS, "body"),
    ):
        _add_to(database, table, name)
    assert registry.history("model").changes == (moved,)
    assert evaluations.all() == finished and finished[0].summary.num_items == 4
    assert (acts.newest(9), tuple(judged.read()), tuple(chosen.read())) == (
        (act,),
        (feedback(),),
        (record(),),
    )


def _add_to(database: Database, table: Table, name: str) -> None:
    with database.writing() as connection:
        for seq, kept in connection.execute(select(table.c.seq, table.c[name])).all():
            connection.execute(update(table).where(table.c.seq == seq).values({name: _newer(kept)}))


def _newer(kept: Any) -> Any:
    """One more field in every object, those in lists included."""
    if isinstance(kept, list):
        return [_newer(each) for each in kept]
    if not isinstance(kept, dict):
        return kept
    more = {name: _newer(value) if isinstance(value, list) else value for name, value in kept.items()}
    return more | {"later": 1}
