"""what several processes of one plane share: paces, who is alive, and which migrations were of which phase"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0021", "0020"
branch_labels = depends_on = None
phase = "pre"


def upgrade() -> None:
    op.create_table(
        "paces",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=600), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("taken", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", "minute", name=op.f("pk_paces")),
    )
    op.create_index("ix_paces_minute", "paces", ["minute"])
    op.create_table(
        "planes",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("knows", sa.String(length=4), nullable=False),
        sa.Column("roles", sa.String(length=200), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_planes")),
    )
    op.create_table(
        "schema_steps",
        sa.Column("number", sa.String(length=4), nullable=False),
        sa.Column("phase", sa.String(length=4), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_schema_steps")),
    )


def downgrade() -> None:
    for name in ("schema_steps", "planes", "paces"):
        op.drop_table(name)
