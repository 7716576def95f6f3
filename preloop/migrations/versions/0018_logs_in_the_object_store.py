"""lines of long logs go to the object store, their numbers stay"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0018", "0017"
branch_labels = depends_on = None
phase = "pre"

LARGE = sa.text("log_bytes >= 1048576 AND logs_moved_at IS NULL AND logs_deleted_at IS NULL")


def upgrade() -> None:
    op.add_column("log_chunks", sa.Column("moved_bytes", sa.BigInteger(), nullable=True))
    op.add_column("executions", sa.Column("logs_moved_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_executions_large_logs", "executions", ["ended_at"], sqlite_where=LARGE, postgresql_where=LARGE)


def downgrade() -> None:
    op.drop_index("ix_executions_large_logs", "executions")
    op.drop_column("executions", "logs_moved_at")
    op.drop_column("log_chunks", "moved_bytes")
