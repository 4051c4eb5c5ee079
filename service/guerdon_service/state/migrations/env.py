"""What Alembic runs for every command: migrate on the connection that the caller opened."""

from alembic import context

from guerdon_service.state.migrate import VERSION_TABLE
from guerdon_service.state.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite alters a table by copying it
)
with context.begin_transaction():
    context.run_migrations()
