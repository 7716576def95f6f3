"""what agents left"""

import sqlalchemy as sa
from alembic import op

from kit.db import UtcTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.create_table(
        "artifacts",
        sa.Column("execution_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("execution_id", "name"),
    )


def downgrade() -> None:
    op.drop_table("artifacts")
