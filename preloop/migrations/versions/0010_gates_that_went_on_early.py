"""gates that went on early"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.add_column("approvals", sa.Column("escalated_early", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("approvals", "escalated_early")
