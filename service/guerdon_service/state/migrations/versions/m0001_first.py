"""The registry, evaluations with their scores, feedback, candidates of best-of-n."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables; their columns are explained in `state/tables.py`."""
    _registry()
    _evaluations()
    op.create_table(
        "feedback",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("feedback_id", "feedback", ["tenant", "id"], unique=True)
    op.create_index("feedback_tenant", "feedback", ["tenant", "seq"])
    op.create_table(
        "candidate_records",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("candidate_records_id", "candidate_records", ["id"], unique=True)
    op.create_index("candidate_records_tenant", "candidate_records", ["tenant", "seq"])


def _registry() -> None:
    op.create_table(
        "model_versions",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("digest", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("registered_by", sa.Text, nullable=False),
        sa.Column("registered_at", sa.Float(53), nullable=False),
        sa.Column("parents", sa.Text, nullable=False),
    )
    op.create_index("model_versions_key", "model_versions", ["name", "version"], unique=True)
    op.create_table(
        "aliases",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("alias", sa.String, primary_key=True),
        sa.Column("version", sa.String, nullable=False),
    )
    op.create_table(
        "alias_changes",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("alias", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("previous", sa.String),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at", sa.Float(53), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("evaluation_id", sa.String),
        sa.Column("checks", sa.Text, nullable=False),
    )
    op.create_index("alias_changes_name", "alias_changes", ["name", "seq"])


def _evaluations() -> None:
    op.create_table(
        "evaluations",
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("query", sa.Text, nullable=False),
        sa.Column("candidate", sa.String, nullable=False),
        sa.Column("candidate_digest", sa.String, nullable=False),
        sa.Column("baseline", sa.String),
        sa.Column("baseline_digest", sa.String),
        sa.Column("dataset_sha256", sa.String, nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("error", sa.Text),
        sa.Column("report", sa.Text),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", sa.Float(53)),
    )
    op.create_index("evaluations_id", "evaluations", ["id"], unique=True)
    op.create_index("evaluations_state", "evaluations", ["state", "seq"])
    op.create_table(
        "evaluation_scores",
        sa.Column("evaluation_id", sa.String, primary_key=True),
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("item_id", sa.Text, primary_key=True),
        sa.Column("rewards", sa.LargeBinary),
        sa.Column("stds", sa.LargeBinary),
    )
