"""how an approval is confirmed"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.add_column("approvals", sa.Column("confirm", sa.String(length=20), server_default="press", nullable=False))
    op.add_column("approvals", sa.Column("sign_in", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("approvals", sa.Column("summary", sa.Text(), nullable=True))
