"""plans and storage, senders and schedules, retries, what retention took"""

import sqlalchemy as sa
from alembic import op

from kit.db import UtcTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
phase = "pre"

TEXTS = ("resends", "retry_of", "retried_by", "budget_of")
TIMES = ("not_before", "log_cut_at", "logs_deleted_at", "payload_deleted_at", "results_deleted_at", "counted_at")
SIZES = ("log_bytes", "payload_bytes", "result_bytes")
PENDING = sa.text("state = 'PENDING'")
RUNNING = sa.text("state = 'RUNNING'")
UNWANTED = sa.text("state = 'PENDING' AND stop_intent IS NOT NULL")
UNCOUNTED = sa.text("counted_at IS NULL AND ended_at IS NOT NULL")
ENROLLED = sa.text("execution_id IS NULL AND deleted_at IS NULL")


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
    for name in SIZES:
        op.add_column("executions", sa.Column(name, sa.BigInteger(), server_default="0", nullable=False))
    for name in ("ix_executions_pending", "ix_executions_running"):
        op.drop_index(name, "executions")
    _index("ix_executions_running", ["account_id", "flow_id", "lease_until"], RUNNING)
    _index("ix_executions_queue", ["account_id", "flow_id", "created_at", "id"], PENDING)
    _index("ix_executions_unwanted", ["created_at"], UNWANTED)
    _index("ix_executions_uncounted", ["ended_at"], UNCOUNTED)
    op.create_index("ix_executions_ended", "executions", ["ended_at"])
    op.create_index("ix_events_at", "events", ["account_id", "at"])
    op.add_column("tool_calls", sa.Column("late", sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column("tool_calls", sa.Column("deleted_at", UtcTime(), nullable=True))
    op.add_column("sessions", sa.Column("bootstrap_key", sa.String(length=64), nullable=True))
    _index("ix_tool_calls_enrolled", ["execution_id", "settled_at"], ENROLLED, "tool_calls")
    op.add_column("streams", sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False))
    _weigh_logs()
    _tables()


def _index(name: str, columns: list[str], rows: sa.TextClause, table: str = "executions") -> None:
    op.create_index(name, table, columns, sqlite_where=rows, postgresql_where=rows)


def _weigh_logs() -> None:
    """Logs of before are counted as they are; nobody wrote down their size."""
    lite = op.get_bind().dialect.name == "sqlite"
    size = "LENGTH(CAST(lines AS BLOB))" if lite else "OCTET_LENGTH(lines)"
    its = f"SELECT COALESCE(SUM({size}), 0) FROM log_chunks WHERE execution_id = REPLACE(streams.id, '.log', '')"
    op.execute(f"UPDATE streams SET bytes = ({its}) WHERE id LIKE '%.log'")


def _tables() -> None:
    op.create_table(
        "storage_use",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("bytes", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("counted_at", UtcTime(), nullable=False),
        sa.Column("through", UtcTime(), nullable=True),
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
    op.drop_column("streams", "bytes")
    op.drop_index("ix_tool_calls_enrolled", "tool_calls")
    for name in ("late", "deleted_at"):
        op.drop_column("tool_calls", name)
    op.drop_index("ix_events_at", "events")
    op.drop_index("ix_executions_ended", "executions")
    for name in ("ix_executions_uncounted", "ix_executions_unwanted", "ix_executions_queue", "ix_executions_running"):
        op.drop_index(name, "executions")
    _index("ix_executions_running", ["lease_until"], RUNNING)
    _index("ix_executions_pending", ["account_id", "created_at"], PENDING)
    for name in (*TEXTS, *TIMES, *SIZES, "attempt"):
        op.drop_column("executions", name)
    op.drop_column("flows", "hook_before")
    op.drop_column("flows", "hook_before_until")
    op.drop_column("flows", "served_at")
    with op.batch_alter_table("accounts") as accounts:
        for name in ("storage_bytes", "timeout_s", "time_zone", "retention"):
            accounts.drop_column(name)
        accounts.alter_column("slots", existing_type=sa.Integer(), existing_server_default="20", nullable=False)
