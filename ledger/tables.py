"""The tables of money, in the same database as `control/tables` and bound to them by no foreign key.

An entry is one attempt at a model. A budget is a limit and what was spent and is held of it; a lease is one worker's
part of what is held. Amounts are nano-dollars.
"""

import sqlalchemy as sa

from kit.db import UtcTime
from ledger.prices import CLASSES

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _word(name: str, *, length: int = 200, required: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=not required)


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, server_default="0")


def _key(name: str, *, length: int = 40) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), primary_key=True)


entries = sa.Table(
    "entries",
    metadata,
    _key("id"),  # the attempt's, or a correction's
    _word("corrects", length=40, required=False),  # the entry that this one adds to: a row is written once
    _word("account_id", length=40),
    _word("session_id", length=40),
    _word("execution_id", length=40, required=False),
    _word("flow", required=False),
    _word("principal"),
    _word("alias"),
    _word("provider", length=60),
    _word("model"),
    _word("wire", length=20),
    _word("status", length=20),  # answered | failed | cut | lost
    _word("error_class", length=60, required=False),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),  # 0 first, then retries and fallbacks
    *map(_count, CLASSES),
    _count("hosted_calls"),  # uses of tools that ran at the provider, and what of the cost is for them
    _count("hosted_nano"),
    sa.Column("cost_nano", sa.BigInteger),  # NULL: unpriced, never 0
    _word("cost_source", length=20),  # list | override | provider | estimated | unpriced
    _word("price_version", length=60, required=False),
    sa.Column("first_token_ms", sa.BigInteger),
    sa.Column("total_ms", sa.BigInteger),
    _word("upstream_id", required=False),
    sa.Column("at", UtcTime(), nullable=False),
    _word("day", length=10),  # of `at`, in UTC: what reports group by on both databases
    sa.Index("ix_entries_execution", "account_id", "execution_id"),
    sa.Index("ix_entries_session", "account_id", "session_id"),
    sa.Index("ix_entries_day", "account_id", "day"),
    sa.Index("ix_entries_corrects", "corrects"),
)

budgets = sa.Table(
    "budgets",
    metadata,
    _key("account_id"),
    _key("key", length=320),  # scope, period, window, kind and subject in one: see `limits`
    _word("scope", length=20),
    _word("subject"),
    _word("period", length=20),
    _word("window_start", length=20),  # '' for all time, 2026-11 for a month
    _word("kind", length=10),  # hard | soft
    _count("limit_nano"),
    _count("spent_nano"),
    _count("held_nano"),  # the sum of its leases
    sa.Column("wanted_at", UtcTime()),  # when a worker last found no room because of what others hold
    sa.Column("created_at", UtcTime(), nullable=False),
    sa.Index("ix_budgets_subject", "account_id", "scope", "subject"),
)

leases = sa.Table(  # a worker's part of a budget; what a dead one held goes back when its journal was settled
    "leases",
    metadata,
    _key("worker", length=60),
    _key("account_id"),
    _key("budget_key", length=320),
    _count("amount_nano"),
)

intents = sa.Table(  # strict: a call that is about to be made, gone when it has its entry
    "intents",
    metadata,
    _key("attempt_id"),
    _word("worker", length=60),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("ix_intents_worker", "worker"),
)
