"""How Alembic reaches the database: over the connection that `preloop/database` hands it."""

from alembic import context

from control import tables as control_tables
from ledger import tables as ledger_tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=[control_tables.metadata, ledger_tables.metadata],
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
