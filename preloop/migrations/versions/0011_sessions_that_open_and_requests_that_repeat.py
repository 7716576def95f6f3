"""sessions that open at their first use, and requests that repeat"""

import sqlalchemy as sa
from alembic import op

from kit.db import UtcTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.add_column("sessions", sa.Column("opened_at", UtcTime(), nullable=True))
    op.execute("UPDATE sessions SET opened_at = created_at")
    op.create_table(
        "repeats",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("body", sa.String(length=64), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )
    op.create_index("ix_repeats_at", "repeats", ["at"])


def downgrade() -> None:
    op.drop_table("repeats")
    op.drop_column("sessions", "opened_at")
