"""calls that somebody listens for"""

import sqlalchemy as sa
from alembic import op

from kit.db import UtcTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.add_column("tool_calls", sa.Column("attended_at", UtcTime(), nullable=True))


def downgrade() -> None:
    op.drop_column("tool_calls", "attended_at")
