"""How much of an agent's output is kept: `limits.max_log_mb` of its flow, and the storage of the account's plan.

At either limit the run goes on and its output is still read; only lines are not stored, and one line of ours says so.
The plan may have room again, then lines are kept from there on. The product's own lines about tools and approvals are
few, and always kept.
"""

from collections.abc import Sequence
from enum import StrEnum

import sqlalchemy as sa

from control.executions import logs, storage
from control.flows.quantities import size
from control.tables import executions, streams
from kit.db import Tx
from kit.prepared import Prepared

Stored = tuple[str, str, str, str]
"""(at, source, level, text)"""
AGAIN = "Storage has room again: lines are kept from here on."


class Kept(StrEnum):
    ALL = "all"
    FULL = "full"  # the plan has no room now
    CUT = "cut"  # the log is as long as its flow allows


_LOG = (streams.c.account_id == sa.bindparam("account")) & (streams.c.id == sa.bindparam("stream"))
_TAKEN = sa.func.coalesce(sa.select(streams.c.bytes).where(_LOG).scalar_subquery(), 0).label("bytes")
_ITS = (executions.c.id == sa.bindparam("execution")) & (executions.c.account_id == sa.bindparam("account"))
_STANDING = Prepared(sa.select(_TAKEN, executions.c.log_cut_at).where(_ITS))


def keep(
    tx: Tx, account_id: str, execution_id: str, lines: Sequence[Stored], *, most: int, cursor: str | None = None
) -> Kept:
    """Store output lines while there is room; `most` are the bytes that the flow allows."""
    its = {"account": account_id, "execution": execution_id, "stream": logs.stream_of(execution_id)}
    row = tx.run(_STANDING, its).one()
    if row.bytes >= most:
        return _stop(tx, account_id, execution_id, lines[0], _flow(most), Kept.CUT)
    if (limit := storage.full(tx, account_id)) is not None:
        return _stop(tx, account_id, execution_id, lines[0], _plan(limit), Kept.FULL)
    fits = _fitting(lines, most - row.bytes)
    told: list[Stored] = []
    if row.log_cut_at is not None:
        tx.execute(sa.update(executions).where(executions.c.id == execution_id).values(log_cut_at=None))
        told = [(lines[0][0], "preloop", "info", AGAIN)]
    logs.append(tx, account_id, execution_id, [*told, *fits], cursor=cursor)
    if len(fits) < len(lines):
        return _stop(tx, account_id, execution_id, lines[len(fits)], _flow(most), Kept.CUT)
    return Kept.ALL


def _fitting(lines: Sequence[Stored], room: int) -> Sequence[Stored]:
    """The lines up to the one that fills the room."""
    for number, line in enumerate(lines):
        room -= len(line[3].encode())
        if room <= 0:
            return lines[: number + 1]
    return lines


def _stop(tx: Tx, account_id: str, execution_id: str, first: Stored, why: str, kept: Kept) -> Kept:
    """Say once that lines are not kept from here on."""
    open_ = (executions.c.id == execution_id) & executions.c.log_cut_at.is_(None)
    if tx.changed(sa.update(executions).where(open_).values(log_cut_at=tx.now())):
        logs.append(tx, account_id, execution_id, [(first[0], "preloop", "warning", why)])
    return kept


def _flow(most: int) -> str:
    return f"The log has reached limits.max_log_mb ({size(most)}): later lines are not kept."


def _plan(limit: int) -> str:
    return f"Storage of the plan is full ({size(limit)}): later lines are not kept."
