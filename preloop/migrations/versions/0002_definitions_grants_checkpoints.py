"""definitions grants checkpoints"""

import sqlalchemy as sa
from alembic import op

from kit.db import UtcTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
phase = "pre"


def upgrade() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("stream", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "stream", "seq", name=op.f("pk_checkpoints")),
    )
    op.create_table(
        "definitions",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("server", sa.String(length=200), nullable=False),
        sa.Column("tool", sa.String(length=200), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("raw", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=20), server_default="seen", nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.Column("decided_at", UtcTime(), nullable=True),
        sa.Column("decided_by", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "server", "tool", "digest", name=op.f("pk_definitions")),
    )
    op.create_table(
        "grants",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("session_id", sa.String(length=40), nullable=False),
        sa.Column("approval_id", sa.String(length=40), nullable=True),
        sa.Column("server", sa.String(length=200), nullable=False),
        sa.Column("tool", sa.String(length=200), nullable=False),
        sa.Column("condition", sa.Text(), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True),
        sa.Column("uses_left", sa.Integer(), nullable=True),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.Column("expires_at", UtcTime(), nullable=False),
        sa.Column("revoked_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["approval_id"], ["approvals.id"], name=op.f("fk_grants_approval_id")),
        sa.ForeignKeyConstraint(["session_id"], ["sessions.id"], name=op.f("fk_grants_session_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_grants")),
    )
    with op.batch_alter_table("grants", schema=None) as batch_op:
        batch_op.create_index("ix_grants_session", ["session_id", "server", "tool"], unique=False)

    with op.batch_alter_table("approvals", schema=None) as batch_op:
        batch_op.add_column(sa.Column("requester", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("four_eyes", sa.Boolean(), server_default=sa.false(), nullable=False))
        batch_op.add_column(sa.Column("escalate_to", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("reminded_at", UtcTime(), nullable=True))
        batch_op.add_column(sa.Column("escalated_at", UtcTime(), nullable=True))

    with op.batch_alter_table("tool_calls", schema=None) as batch_op:
        batch_op.add_column(sa.Column("approved_args", sa.Text(), nullable=True))
        batch_op.add_column(sa.Column("grant_id", sa.String(length=200), nullable=True))
        batch_op.add_column(sa.Column("receipt_seq", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("tool_calls", schema=None) as batch_op:
        batch_op.drop_column("receipt_seq")
        batch_op.drop_column("grant_id")
        batch_op.drop_column("approved_args")

    with op.batch_alter_table("approvals", schema=None) as batch_op:
        batch_op.drop_column("escalated_at")
        batch_op.drop_column("reminded_at")
        batch_op.drop_column("escalate_to")
        batch_op.drop_column("four_eyes")
        batch_op.drop_column("requester")

    with op.batch_alter_table("grants", schema=None) as batch_op:
        batch_op.drop_index("ix_grants_session")

    op.drop_table("grants")
    op.drop_table("definitions")
    op.drop_table("checkpoints")
