"""more classes of tokens, and entries that correct others"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
phase = "pre"

CLASSES = ("cache_read_audio", "cache_write_1h", "audio_input", "image_input", "audio_output", "image_output")


def upgrade() -> None:
    for name in CLASSES:
        op.add_column("entries", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("entries", sa.Column("corrects", sa.String(length=40), nullable=True))
    op.create_index("ix_entries_corrects", "entries", ["corrects"])


def downgrade() -> None:
    op.drop_index("ix_entries_corrects", "entries")
    op.drop_column("entries", "corrects")
    for name in CLASSES:
        op.drop_column("entries", name)
