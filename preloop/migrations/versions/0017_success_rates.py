"""success rates are read from an index alone"""

from alembic import op

revision, down_revision = "0017", "0016"
branch_labels = depends_on = None
phase = "pre"


def upgrade() -> None:
    op.drop_index("ix_executions_flow", "executions")
    op.create_index("ix_executions_flow", "executions", ["flow_id", "created_at", "state"])


def downgrade() -> None:
    op.drop_index("ix_executions_flow", "executions")
    op.create_index("ix_executions_flow", "executions", ["flow_id", "created_at"])
