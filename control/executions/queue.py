"""The executions table is the queue: claim, heartbeat, adopt, and what the clock ends.

A claim is a lease with an epoch; whoever lost the lease can't write any more. Times are the database's. A lost worker's
execution is first offered for adoption and ends as `runner_lost` only when nobody took it for two minutes.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions.lifecycle import WORK, Lifecycle, intend
from control.executions.states import Cause, Stored
from control.identity import sessions
from control.tables import accounts, executions
from kit.db import Tx

LEASE = timedelta(seconds=30)
HEARTBEAT_S = 10.0
UNADOPTED = timedelta(seconds=120)
"""How long after its lease a lost execution may still be adopted; its session lives as long."""
CANDIDATES = 200


def claim(tx: Tx, owner: str) -> Row[Any] | None:
    """The oldest PENDING execution that has a free slot in its account and its flow, or None."""
    waiting = sa.select(executions.c.account_id).where(executions.c.state == Stored.PENDING)
    for account_id in tx.execute(waiting.distinct()).scalars().all():
        if row := _claim_of(tx, account_id, owner):
            return row
    return None


def _claim_of(tx: Tx, account_id: str, owner: str) -> Row[Any] | None:
    lock = sa.update(accounts).where(accounts.c.id == account_id).values(slots=accounts.c.slots)
    slots = tx.execute(lock.returning(accounts.c.slots)).scalar_one()
    mine = executions.c.account_id == account_id
    running = sa.select(executions.c.flow_id).where(mine, executions.c.state == Stored.RUNNING)
    busy = Counter(tx.execute(running).scalars())
    if slots is not None and busy.total() >= slots:
        return None
    pending = sa.select(executions.c.id, executions.c.flow_id, executions.c.concurrency).where(
        mine, executions.c.state == Stored.PENDING, executions.c.stop_intent.is_(None)
    )
    for row in tx.execute(pending.order_by(executions.c.created_at, executions.c.id).limit(CANDIDATES)).all():
        if busy[row.flow_id] < row.concurrency:
            return _take(tx, row.id, owner)
    return None


def _take(tx: Tx, execution_id: str, owner: str) -> Row[Any] | None:
    now = tx.now()
    pending = (executions.c.id == execution_id) & (executions.c.state == Stored.PENDING)
    lease = {"lease_owner": owner, "lease_until": now + LEASE, "epoch": executions.c.epoch + 1}
    taken = sa.update(executions).where(pending).values(state=Stored.RUNNING.value, claimed_at=now, **lease)
    row = tx.execute(taken.returning(executions)).first()
    if row:
        events.append(tx, row.account_id, row.id, "execution.claimed", owner=owner, epoch=row.epoch)
        tx.wake(WORK)
    return row


def heartbeat(tx: Tx, execution_id: str, owner: str, epoch: int) -> Row[Any] | None:
    """Renew a lease and with it the session; the row as it is, or None when the lease is somebody else's."""
    until = tx.now() + LEASE
    mine = (executions.c.id == execution_id) & (executions.c.epoch == epoch) & (executions.c.lease_owner == owner)
    mine &= executions.c.state == Stored.RUNNING
    row = tx.execute(sa.update(executions).where(mine).values(lease_until=until).returning(executions)).first()
    if row and row.session_id:
        sessions.extend(tx, row.session_id, until + UNADOPTED)
    return row


def adopt(tx: Tx, owner: str, engines: Sequence[str]) -> Row[Any] | None:
    """Take over one execution whose lease ran out and whose engine this worker reaches, with the next epoch."""
    now = tx.now()
    lost = (executions.c.state == Stored.RUNNING) & (executions.c.lease_until < now)
    lost &= executions.c.engine.in_(engines) | executions.c.engine.is_(None)
    found = tx.one(sa.select(executions.c.id, executions.c.epoch).where(lost).limit(1))
    if found is None:
        return None
    mine = (executions.c.id == found.id) & (executions.c.epoch == found.epoch) & lost
    lease = {"lease_owner": owner, "lease_until": now + LEASE, "epoch": found.epoch + 1}
    row = tx.execute(sa.update(executions).where(mine).values(lease).returning(executions)).first()
    if row:
        events.append(tx, row.account_id, row.id, "execution.adopted", owner=owner, epoch=row.epoch)
    return row


def release(tx: Tx, owner: str) -> int:
    """Give up the leases of a worker that stops or is known to be dead, so that the next one adopts at once.

    `owner` may end in `%`: all workers of one instance.
    """
    mine = executions.c.lease_owner.like(owner) & (executions.c.state == Stored.RUNNING)
    return tx.execute(sa.update(executions).where(mine).values(lease_until=tx.now())).rowcount


def sweep(tx: Tx, lifecycle: Lifecycle) -> int:
    """End what nobody holds: stop intents of PENDING rows, and RUNNING rows that stayed unadopted. Returns how many."""
    now = tx.now()
    cancelled = sa.select(executions).where(executions.c.state == Stored.PENDING, executions.c.stop_intent.is_not(None))
    ended = 0
    for row in tx.execute(cancelled.limit(100)).all():
        ended += lifecycle.end(tx, row.id, Cause(row.stop_intent), message="Cancelled before it began.")
    lost = sa.select(executions).where(executions.c.state == Stored.RUNNING, executions.c.lease_until < now - UNADOPTED)
    for row in tx.execute(lost.limit(100)).all():
        ended += lifecycle.end(
            tx,
            row.id,
            Cause(row.stop_intent or Cause.RUNNER_LOST),
            message="The worker of this execution was lost and nobody could take it over.",
            hint="Run it again; if it happens often, look at the runner's memory and its engine.",
            epoch=row.epoch,
        )
    return ended


def overdue(tx: Tx) -> int:
    """Set the stop intent of RUNNING executions whose active time or wall time is over. Returns how many."""
    now = tx.now()
    running = sa.select(executions).where(executions.c.state == Stored.RUNNING, executions.c.stop_intent.is_(None))
    late = 0
    for row in tx.execute(running.limit(500)).all():
        if active(row, now) >= row.timeout_s or (now - row.claimed_at).total_seconds() >= row.wall_s:
            late += intend(tx, row.account_id, row.id, Cause.TIMEOUT, by="clock")
    return late


def active(row: Row[Any], now: datetime) -> float:
    """Seconds an execution has worked since its claim, approval waits not counted."""
    if row.claimed_at is None:
        return 0.0
    waiting = (now - row.waiting_since).total_seconds() if row.waiting_since else 0.0
    return float(((row.ended_at or now) - row.claimed_at).total_seconds() - row.waited_ms / 1000 - waiting)
