"""What an account's content takes, and whether its plan has room for more: the meter behind the quota.

Nothing is added up while something runs. An execution is counted once, when it is over and cleaned up, and leaves the
meter as it was counted; the logs of what still runs are summed each time (`open`). So the cost of a look does not grow
with what is kept. Payloads and results of an execution are in the meter from its end on.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.executions.logs import stream_of
from control.tables import accounts, artifacts, executions, storage_use, streams, tool_calls
from kit.db import Database, Lane, Tx, octets
from kit.prepared import Prepared

COUNTED = 200
"""Executions that one unit counts."""


class Kind(StrEnum):
    LOGS = "logs"  # log lines, and the whole output as a file
    PAYLOADS = "payloads"  # the event and the prompt made of it
    RESULTS = "results"  # arguments and results of tool calls, and what the agent left
    BODIES = "bodies"  # of model calls; none are recorded yet


OPEN = "open"
"""Logs of executions that are not over, or not cleaned up."""
CONTENT = ("args", "approved_args", "context", "justification", "result")
"""The columns of a call that are content."""
SIZES = {Kind.LOGS: "log_bytes", Kind.PAYLOADS: "payload_bytes", Kind.RESULTS: "result_bytes"}
"""Where an execution's row has what of it was counted."""
DELETED = {Kind.LOGS: "logs_deleted_at", Kind.PAYLOADS: "payload_deleted_at", Kind.RESULTS: "results_deleted_at"}
"""Where it has when that was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Bytes by class, in all, and the most the plan has; None is no limit. `counted_at` is None before the first look:
    the figures are a few seconds old."""

    by_kind: Mapping[Kind, int]
    limit: int | None
    counted_at: datetime | None

    @property
    def total(self) -> int:
        return sum(self.by_kind.values())


async def usage(db: Database, account_id: str) -> Usage:
    """What the account takes."""
    limit = await db.read(sa.select(accounts.c.storage_bytes).where(accounts.c.id == account_id))
    rows = await db.read(sa.select(storage_use).where(storage_use.c.account_id == account_id))
    found = dict.fromkeys(Kind, 0)
    for row in rows:
        found[Kind.LOGS if row.kind == OPEN else Kind(row.kind)] += row.bytes
    counted = max((row.counted_at for row in rows), default=None)
    return Usage(by_kind=found, limit=limit[0].storage_bytes, counted_at=counted)


_TOTAL = sa.select(sa.func.coalesce(sa.func.sum(storage_use.c.bytes), 0))
_MINE = _TOTAL.where(storage_use.c.account_id == accounts.c.id).correlate(accounts).scalar_subquery()
_FULL = Prepared(
    sa.select(accounts.c.storage_bytes).where(
        accounts.c.id == sa.bindparam("account"), accounts.c.storage_bytes <= _MINE
    )
)


def full(tx: Tx, account_id: str) -> int | None:
    """The plan's storage in bytes if all of it is taken; None while there is room."""
    found: int | None = tx.run(_FULL, {"account": account_id}).scalar()
    return found


def total(tx: Tx, account_id: str) -> int:
    """Bytes of every class."""
    return int(tx.execute(_TOTAL.where(storage_use.c.account_id == account_id)).scalar_one())


async def count(db: Database) -> int:
    """Take what ended into the meter, and look at what runs; returns how many executions were counted."""
    counted = 0
    while found := await db.write(_count_ended, lane=Lane.BULK):
        counted += found
        if found < COUNTED:
            break
    await db.write(_count_open, lane=Lane.BULK)
    return counted


def _count_ended(tx: Tx) -> int:
    rows = tx.execute(_UNCOUNTED.with_for_update(skip_locked=True)).all()
    if rows:
        logs, results, now = _logs(tx, rows), _results(tx, [row.id for row in rows]), tx.now()
        sizes = [_sizes(row, logs.get(stream_of(row.id), 0), results.get(row.id, 0)) for row in rows]
        told = [{f"its_{name}": size for name, size in one.items()} for one in sizes]
        its = [one | {"its": row.id, "its_counted_at": now} for row, one in zip(rows, told, strict=True)]
        tx.execute(_COUNT, its)
        sums: Counter[tuple[str, Kind]] = Counter()
        for row, one in zip(rows, sizes, strict=True):
            sums.update({(row.account_id, kind): one[name] for kind, name in SIZES.items()})
        for (account_id, kind), size in sorted(sums.items()):
            add(tx, account_id, kind, size)
    return len(rows)


_COUNT = (
    sa.update(executions)
    .where(executions.c.id == sa.bindparam("its"))
    .values(
        {name: sa.bindparam(f"its_{name}", type_=executions.c[name].type) for name in (*SIZES.values(), "counted_at")}
    )
)
_EVENT = octets(executions.c.trigger_event) + octets(executions.c.prompt)
_UNCOUNTED = (
    sa.select(
        executions.c.id, executions.c.account_id, _EVENT.label("payload"), *(executions.c[n] for n in DELETED.values())
    )
    .where(executions.c.counted_at.is_(None), executions.c.ended_at.is_not(None))
    .where(executions.c.job.is_(None) | executions.c.cleaned_at.is_not(None))
    .order_by(executions.c.ended_at)
    .limit(COUNTED)
)
_CALL: sa.ColumnElement[int] = sum((sa.func.coalesce(octets(tool_calls.c[name]), 0) for name in CONTENT), sa.literal(0))


def _logs(tx: Tx, rows: Sequence[Row[Any]]) -> dict[str, int]:
    theirs = streams.c.account_id.in_(sorted({row.account_id for row in rows}))
    its = streams.c.id.in_([stream_of(row.id) for row in rows])
    return {row.id: row.bytes for row in tx.execute(sa.select(streams.c.id, streams.c.bytes).where(theirs, its))}


def _results(tx: Tx, ids: Sequence[str]) -> dict[str, int]:
    its = sa.select(tool_calls.c.execution_id, sa.func.sum(_CALL).label("size")).group_by(tool_calls.c.execution_id)
    rows = tx.execute(its.where(tool_calls.c.execution_id.in_(ids)))
    called = {row.execution_id: int(row.size) for row in rows}
    return Counter(called) + Counter(_left(tx, ids))


def _left(tx: Tx, ids: Sequence[str]) -> dict[str, int]:
    its = sa.select(artifacts.c.execution_id, sa.func.sum(artifacts.c.size).label("size"))
    rows = tx.execute(its.where(artifacts.c.execution_id.in_(ids)).group_by(artifacts.c.execution_id))
    return {row.execution_id: int(row.size) for row in rows}


def _sizes(row: Row[Any], logs: int, results: int) -> dict[str, int]:
    """What an execution goes into the meter with: nothing of what was deleted before."""
    found = {Kind.LOGS: logs, Kind.PAYLOADS: row.payload, Kind.RESULTS: results}
    return {SIZES[kind]: 0 if getattr(row, DELETED[kind]) else size for kind, size in found.items()}


def add(tx: Tx, account_id: str, kind: str, size: int) -> None:
    """More of a class, or less."""
    now = tx.now()
    row = tx.insert(storage_use).values(account_id=account_id, kind=kind, bytes=max(0, size), counted_at=now)
    sum_ = storage_use.c.bytes + size
    left = sa.case((sum_ > 0, sum_), else_=0)
    tx.execute(
        row.on_conflict_do_update(index_elements=["account_id", "kind"], set_={"bytes": left, "counted_at": now})
    )


def _count_open(tx: Tx) -> None:
    rows = tx.execute(_OPEN).all()
    sums = dict.fromkeys(tx.execute(sa.select(accounts.c.id)).scalars(), 0)
    for first in range(0, len(rows), COUNTED):
        some = rows[first : first + COUNTED]
        sizes = _logs(tx, some)
        for row in some:
            sums[row.account_id] += sizes.get(stream_of(row.id), 0)
    for account_id, size in sorted(sums.items()):
        made = tx.insert(storage_use).values(account_id=account_id, kind=OPEN, bytes=size, counted_at=tx.now())
        new = {"bytes": made.excluded.bytes, "counted_at": made.excluded.counted_at}
        tx.execute(made.on_conflict_do_update(index_elements=["account_id", "kind"], set_=new))


_OPEN = sa.select(executions.c.id, executions.c.account_id).where(
    executions.c.cleaned_at.is_(None), executions.c.job.is_not(None)
)
