"""lists of many executions"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    over = sa.text("ended_at IS NOT NULL")
    op.create_index(
        "ix_executions_over", "executions", ["state", "account_id", "id"], sqlite_where=over, postgresql_where=over
    )
    op.create_index("ix_executions_of_flow", "executions", ["flow_name", "account_id", "id"])
    op.create_index("ix_executions_trigger", "executions", ["trigger_type", "account_id", "id"])


def downgrade() -> None:
    for name in ("over", "of_flow", "trigger"):
        op.drop_index(f"ix_executions_{name}", "executions")
