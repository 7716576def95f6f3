"""plans and storage, senders and schedules, retries, what retention took"""

import sqlalchemy as sa
from alembic import op

from kit.db import UtcTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXTS = ("resends", "retry_of", "budget_of")
TIMES = ("not_before", "log_cut_at", "logs_deleted_at", "payload_deleted_at", "results_deleted_at")
PENDING = sa.text("state = 'PENDING'")
RUNNING = sa.text("state = 'RUNNING'")
UNWANTED = sa.text("state = 'PENDING' AND stop_intent IS NOT NULL")


def upgrade() -> None:
    with op.batch_alter_table("accounts") as accounts:
        accounts.alter_column("slots", existing_type=sa.Integer(), existing_server_default="20", nullable=True)
        accounts.add_column(sa.Column("storage_bytes", sa.BigInteger(), nullable=True))
        accounts.add_column(sa.Column("timeout_s", sa.Integer(), nullable=True))
        accounts.add_column(sa.Column("time_zone", sa.String(length=64), server_default="UTC", nullable=False))
        accounts.add_column(sa.Column("retention", sa.Text(), nullable=True))
    op.add_column("flows", sa.Column("hook_before", sa.Text(), nullable=True))
    op.add_column("flows", sa.Column("hook_before_until", UtcTime(), nullable=True))
    op.add_column("flows", sa.Column("served_at", UtcTime(), nullable=True))
    for name in TEXTS:
        op.add_column("executions", sa.Column(name, sa.String(length=200), nullable=True))
    for name in TIMES:
        op.add_column("executions", sa.Column(name, UtcTime(), nullable=True))
    op.add_column("executions", sa.Column("attempt", sa.Integer(), server_default="0", nullable=False))
    op.add_column("executions", sa.Column("log_bytes", sa.BigInteger(), server_default="0", nullable=False))
    for name in ("ix_executions_pending", "ix_executions_running"):
        op.drop_index(name, "executions")
    _index("ix_executions_running", ["account_id", "flow_id", "lease_until"], RUNNING)
    _index("ix_executions_queue", ["account_id", "flow_id", "created_at", "id"], PENDING)
    _index("ix_executions_unwanted", ["created_at"], UNWANTED)
    op.create_index("ix_executions_ended", "executions", ["ended_at"])
    op.add_column("tool_calls", sa.Column("late", sa.Boolean(), server_default=sa.false(), nullable=False))
    _tables()


def _index(name: str, columns: list[str], rows: sa.TextClause) -> None:
    op.create_index(name, "executions", columns, sqlite_where=rows, postgresql_where=rows)


def _tables() -> None:
    op.create_table(
        "storage_use",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("counted_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "kind", name=op.f("pk_storage_use")),
    )
    op.create_table(
        "senders",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("before_until", UtcTime(), nullable=True),
        sa.Column("created_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "kind", name=op.f("pk_senders")),
    )
    op.create_table(
        "schedules",
        sa.Column("flow_id", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("cron", sa.String(length=200), nullable=False),
        sa.Column("zone", sa.String(length=64), nullable=False),
        sa.Column("next_at", UtcTime(), nullable=True),
        sa.Column("last_at", UtcTime(), nullable=True),
        sa.ForeignKeyConstraint(["flow_id"], ["flows.id"], name=op.f("fk_schedules_flow_id")),
        sa.PrimaryKeyConstraint("flow_id", "position", name=op.f("pk_schedules")),
    )
    op.create_index("ix_schedules_next", "schedules", ["next_at"])
    op.create_table(
        "runners",
        sa.Column("id", sa.String(length=120), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("engine", sa.String(length=200), nullable=False),
        sa.Column("parallel", sa.Integer(), server_default="0", nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("seen_at", UtcTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runners")),
    )


def downgrade() -> None:
    for name in ("runners", "schedules", "senders", "storage_use"):
        op.drop_table(name)
    op.drop_column("tool_calls", "late")
    op.drop_index("ix_executions_ended", "executions")
    for name in ("ix_executions_unwanted", "ix_executions_queue", "ix_executions_running"):
        op.drop_index(name, "executions")
    _index("ix_executions_running", ["lease_until"], RUNNING)
    _index("ix_executions_pending", ["account_id", "created_at"], PENDING)
    for name in (*TEXTS, *TIMES, "attempt", "log_bytes"):
        op.drop_column("executions", name)
    op.drop_column("flows", "hook_before")
    op.drop_column("flows", "hook_before_until")
    op.drop_column("flows", "served_at")
    with op.batch_alter_table("accounts") as accounts:
        for name in ("storage_bytes", "timeout_s", "time_zone", "retention"):
            accounts.drop_column(name)
        accounts.alter_column("slots", existing_type=sa.Integer(), existing_server_default="20", nullable=False)
