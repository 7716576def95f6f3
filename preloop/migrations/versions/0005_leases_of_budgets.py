"""leases of budgets

A budget has a window and a kind, and is held of by workers, no longer by attempts. What was still held counts as spent.
"""

import sqlalchemy as sa
from alembic import op

from kit.db import UtcTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
phase = "post"

KEPT = """
    INSERT INTO budgets (account_id, key, scope, subject, period, window_start, kind, limit_nano, spent_nano, created_at)
    SELECT b.account_id, 'run/total//hard/' || COALESCE(s.execution_id, b.subject), 'run',
           COALESCE(s.execution_id, b.subject), 'total', '', 'hard', b.limit_nano, b.spent_nano + b.held_nano, b.created_at
    FROM budgets_before b LEFT JOIN sessions s ON s.id = b.subject
"""


def upgrade() -> None:
    op.drop_index("ix_holds_worker", "holds")
    op.drop_table("holds")
    op.rename_table("budgets", "budgets_before")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE budgets_before RENAME CONSTRAINT pk_budgets TO pk_budgets_before")
    op.create_table(
        "budgets",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=320), nullable=False),
        sa.Column("scope", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("period", sa.String(length=20), nullable=False),
        sa.Column("window_start", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("limit_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("wanted_at", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name="pk_budgets"),
    )
    op.create_index("ix_budgets_subject", "budgets", ["account_id", "scope", "subject"])
    op.execute(KEPT)
    op.drop_table("budgets_before")
    op.create_table(
        "leases",
        sa.Column("worker", sa.String(length=60), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("budget_key", sa.String(length=320), nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("worker", "account_id", "budget_key", name="pk_leases"),
    )
    op.create_table(
        "intents",
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("worker", sa.String(length=60), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_intents"),
    )
    op.create_index("ix_intents_worker", "intents", ["worker"])


def downgrade() -> None:
    op.drop_table("intents")
    op.drop_table("leases")
    op.drop_table("budgets")
    op.create_table(
        "budgets",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("period", sa.String(length=20), nullable=False),
        sa.Column("limit_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("spent_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "scope", "subject", "period", name="pk_budgets"),
    )
    op.create_table(
        "holds",
        sa.Column("attempt_id", sa.String(length=40), nullable=False),
        sa.Column("scope", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("period", sa.String(length=20), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("amount_nano", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("worker", sa.String(length=60), nullable=False),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", "scope", "subject", "period", name="pk_holds"),
    )
    op.create_index("ix_holds_worker", "holds", ["worker"])
