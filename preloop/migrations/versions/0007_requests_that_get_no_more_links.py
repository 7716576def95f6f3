"""requests that get no more links"""

import sqlalchemy as sa
from alembic import op

from kit.db import UtcTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.add_column("approvals", sa.Column("links_revoked_at", UtcTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("approvals", "links_revoked_at")
