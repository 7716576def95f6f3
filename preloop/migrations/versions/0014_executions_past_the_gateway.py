"""executions past the gateway"""

import sqlalchemy as sa
from alembic import op

from kit.db import UtcTime

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.add_column("executions", sa.Column("unmetered_at", UtcTime(), nullable=True))
    set_ = sa.text("unmetered_at IS NOT NULL")
    op.create_index(
        "ix_executions_unmetered",
        "executions",
        ["account_id", "unmetered_at"],
        sqlite_where=set_,
        postgresql_where=set_,
    )


def downgrade() -> None:
    op.drop_index("ix_executions_unmetered", "executions")
    op.drop_column("executions", "unmetered_at")
