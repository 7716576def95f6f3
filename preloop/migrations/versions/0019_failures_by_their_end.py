"""failures are listed by when they ended"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0019", "0018"
branch_labels = depends_on = None
phase = "pre"

FAILED = sa.text("cause IS NOT NULL")


def upgrade() -> None:
    columns = ["state", "account_id", "ended_at", "id"]
    op.create_index("ix_executions_ended_as", "executions", columns, sqlite_where=FAILED, postgresql_where=FAILED)


def downgrade() -> None:
    op.drop_index("ix_executions_ended_as", "executions")
