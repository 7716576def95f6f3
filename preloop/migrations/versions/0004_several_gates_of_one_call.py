"""several gates of one call"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.add_column("approvals", sa.Column("also", sa.Text(), nullable=True))
    op.create_index("ix_approvals_call", "approvals", ["call_id"])


def downgrade() -> None:
    op.drop_index("ix_approvals_call", "approvals")
    op.drop_column("approvals", "also")
