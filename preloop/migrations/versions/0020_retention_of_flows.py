"""a flow may keep less of its executions than the account does"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0020", "0019"
branch_labels = depends_on = None
phase = "pre"

DUE = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    op.add_column("executions", sa.Column("keeps", sa.Text(), nullable=True))
    op.add_column("executions", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_executions_due", "executions", ["due_at"], sqlite_where=DUE, postgresql_where=DUE)


def downgrade() -> None:
    op.drop_index("ix_executions_due", "executions")
    op.drop_column("executions", "due_at")
    op.drop_column("executions", "keeps")
