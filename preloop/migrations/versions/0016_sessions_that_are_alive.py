"""sessions that are alive"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.create_index("ix_sessions_alive", "sessions", ["account_id", "alive_until"])


def downgrade() -> None:
    op.drop_index("ix_sessions_alive", "sessions")
