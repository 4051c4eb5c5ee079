"""The tables, as the code reads them; `migrations/` is how a database comes to have them."""

import json
import struct
from typing import Any

from sqlalchemy import Column, Dialect, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.types import TypeDecorator, TypeEngine


class Json(TypeDecorator[Any]):
    """Plain values as ASCII JSON text: float64 comes back exactly, and so does any text.

    PostgreSQL refuses NUL in text, and no driver encodes a lone surrogate: here both are escapes.
    """

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Python to SQL; None is NULL."""
        return None if value is None else json.dumps(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """SQL to Python."""
        return None if value is None else json.loads(value)


class Floats(TypeDecorator[tuple[float, ...]]):
    """A tuple of float64, packed: eight bytes each, little-endian."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: tuple[float, ...] | None, dialect: Dialect) -> bytes | None:
        """Python to SQL; None is NULL."""
        return None if value is None else struct.pack(f"<{len(value)}d", *value)

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[float, ...] | None:
        """SQL to Python."""
        return None if value is None else struct.unpack(f"<{len(value) // 8}d", value)


METADATA = MetaData()

MODEL_VERSIONS = Table(
    "model_versions",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("version", String, nullable=False),
    Column("digest", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("source", Json, nullable=False),
    Column("registered_by", Json, nullable=False),
    Column("registered_at", Float(53), nullable=False),
    Column("parents", Json, nullable=False),
    Index("model_versions_key", "name", "version", unique=True),
)

ALIASES = Table(
    "aliases",
    METADATA,
    Column("name", String, primary_key=True),
    Column("alias", String, primary_key=True),
    Column("version", String, nullable=False),
)

ALIAS_CHANGES = Table(
    "alias_changes",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("alias", String, nullable=False),
    Column("action", String, nullable=False),
    Column("previous", String),
    Column("version", String, nullable=False),
    Column("by", Json, nullable=False),
    Column("at", Float(53), nullable=False),
    Column("reason", Json, nullable=False),
    Column("evaluation_id", String),
    Column("checks", Json, nullable=False),
    Index("alias_changes_name", "name", "seq"),
)

EVALUATIONS = Table(
    "evaluations",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False),
    Column("state", String, nullable=False),
    Column("query", Json, nullable=False),
    Column("candidate", String, nullable=False),
    Column("candidate_digest", String, nullable=False),
    Column("baseline", String),
    Column("baseline_digest", String),
    Column("dataset_sha256", String, nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("error", Json),
    Column("report", Json),
    Column("summary", Json),
    Column("worker", Json),
    Column("lease_until", Float(53)),
    Index("evaluations_id", "id", unique=True),
    Index("evaluations_state", "state", "seq"),
)

EVALUATION_SCORES = Table(
    "evaluation_scores",
    METADATA,
    Column("evaluation_id", String, primary_key=True),
    Column("model", String, primary_key=True),
    Column("item_id", Json, primary_key=True),
    Column("rewards", Floats),
    Column("stds", Floats),
)

FEEDBACK = Table(
    "feedback",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", Json, nullable=False),
    Column("tenant", Json, nullable=False),
    Column("body", Json, nullable=False),
    Index("feedback_id", "tenant", "id", unique=True),  # each tenant has ids of its own
    Index("feedback_tenant", "tenant", "seq"),
)

AUDIT_LOG = Table(
    "audit_log",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("body", Json, nullable=False),
)

CANDIDATE_RECORDS = Table(
    "candidate_records",
    METADATA,
    Column("seq", Integer, primary_key=True),
    Column("id", String, nullable=False),
    Column("tenant", Json, nullable=False),
    Column("body", Json, nullable=False),
    Index("candidate_records_id", "id", unique=True),
    Index("candidate_records_tenant", "tenant", "seq"),
)
