"""uses of tools that ran at the provider"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
phase = "pre"

COUNTS = ("hosted_calls", "hosted_nano")


def upgrade() -> None:
    for name in COUNTS:
        op.add_column("entries", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))


def downgrade() -> None:
    for name in COUNTS:
        op.drop_column("entries", name)
