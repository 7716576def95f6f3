"""The executions table is the queue: who is next, heartbeat, adopt, and what the clock ends.

Within a flow the oldest comes first; between flows the next slot goes to the one with the fewest running, then to the
one that was served longest ago. A claim is a lease with an epoch; whoever lost the lease can't write any more. Times
are the database's. A lost worker's execution is first offered for adoption and ends as `runner_lost` only when nobody
took it for two minutes. Nothing leaves the queue but by a claim or somebody's wish.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import diagnosis, figures
from control.executions.lifecycle import Lifecycle, claimed, intend
from control.executions.states import FINAL, Cause
from control.identity import sessions
from control.tables import accounts, executions, flows
from kit.db import Tx
from kit.prepared import Prepared

LEASE = timedelta(seconds=30)
HEARTBEAT_S = 10.0
UNADOPTED = timedelta(seconds=120)
"""How long after its lease a lost execution may still be adopted; its session lives as long."""
NEVER = datetime.min.replace(tzinfo=UTC)
SWEPT = 500
"""Executions that one sweep ends."""

# words, not parameters: only so can a database tell that the index of just these rows is enough
PENDING = executions.c.state == sa.literal_column("'PENDING'")
RUNNING = executions.c.state == sa.literal_column("'RUNNING'")
WANTED = executions.c.stop_intent.is_(None)
_NOW = sa.bindparam("now", type_=executions.c.not_before.type)
_READY = PENDING & WANTED & (executions.c.not_before.is_(None) | (executions.c.not_before <= _NOW))

_OLDEST = (
    sa.select(executions.c.id)
    .where(_READY, executions.c.account_id == flows.c.account_id, executions.c.flow_id == flows.c.id)
    .order_by(executions.c.created_at, executions.c.id)
    .limit(1)
    .correlate(flows)
    .scalar_subquery()
)
_ACCOUNTS_FLOWS = flows.c.account_id == sa.bindparam("account")
HEADS = sa.select(flows.c.served_at, _OLDEST.label("head")).where(_ACCOUNTS_FLOWS)
"""The oldest execution of each flow that may start, one seek a flow: its cost knows neither how many wait nor how many
are over."""
_ITS = sa.select(executions.c.id, executions.c.flow_id, executions.c.concurrency, executions.c.created_at).where(
    executions.c.id.in_(sa.bindparam("heads", expanding=True))
)
BUSY = (
    sa.select(executions.c.flow_id, sa.func.count().label("running"))
    .where(RUNNING, executions.c.account_id == sa.bindparam("account"))
    .group_by(executions.c.flow_id)
)
"""How many of each flow of an account run."""
_ANYTHING = (
    sa.select(executions.c.id)
    .where(PENDING, executions.c.account_id == accounts.c.id)
    .limit(1)
    .correlate(accounts)
    .exists()
)
_LAST = sa.select(sa.func.max(flows.c.served_at)).where(flows.c.account_id == accounts.c.id).scalar_subquery()
WAITING_ACCOUNTS = sa.select(accounts.c.id).where(_ANYTHING).order_by(_LAST.asc().nulls_first(), accounts.c.id)


def claim(tx: Tx, owner: str) -> Row[Any] | None:
    """The execution whose turn it is, RUNNING from now on, or None when none has a free slot."""
    for account_id in tx.execute(WAITING_ACCOUNTS).scalars().all():
        if row := _claim_of(tx, account_id, owner):
            return row
    return None


def _claim_of(tx: Tx, account_id: str, owner: str) -> Row[Any] | None:
    """The account's row is taken first: until we are done nobody else counts its slots. Its plan may have become
    smaller since the flow was saved, so its longest timeout holds for what is claimed."""
    lock = sa.update(accounts).where(accounts.c.id == account_id).values(slots=accounts.c.slots)
    account = tx.execute(lock.returning(accounts.c.slots, accounts.c.timeout_s)).one()
    now, mine = tx.now(), {"account": account_id}
    busy = Counter({row.flow_id: row.running for row in tx.execute(BUSY, mine)})
    if account.slots is not None and busy.total() >= account.slots:
        return None
    for head in _turns(tx, account_id, now, busy):
        if row := claimed(tx, head.id, owner=owner, at=now, until=now + LEASE, most_s=account.timeout_s):
            tx.execute(sa.update(flows).where(flows.c.id == head.flow_id).values(served_at=now))
            return row
    return None


def _turns(tx: Tx, account_id: str, now: datetime, busy: Counter[str]) -> list[Row[Any]]:
    """The head of each flow that has a free slot: the fewest running first, then who was served longest ago."""
    found = tx.execute(HEADS, {"account": account_id, "now": now}).all()
    served = {row.head: row.served_at for row in found if row.head is not None}
    heads = tx.execute(_ITS, {"heads": list(served)}).all()
    free = [head for head in heads if busy[head.flow_id] < head.concurrency]
    return sorted(free, key=lambda head: (busy[head.flow_id], served[head.id] or NEVER, head.created_at, head.id))


def heartbeat(tx: Tx, execution_id: str, owner: str, epoch: int) -> Row[Any] | None:
    """Renew a lease and with it the session; the row as it is, or None when the lease is somebody else's."""
    until = tx.now() + LEASE
    mine = (executions.c.id == execution_id) & (executions.c.epoch == epoch) & (executions.c.lease_owner == owner)
    row = tx.execute(sa.update(executions).where(mine, RUNNING).values(lease_until=until).returning(executions)).first()
    if row and row.session_id:
        sessions.extend(tx, row.session_id, until + UNADOPTED)
    if row is None:
        figures.refused(tx, "heartbeat")
    return row


_THIS = (executions.c.id == sa.bindparam("execution")) & (executions.c.epoch == sa.bindparam("epoch"))
_HELD = Prepared(sa.select(executions.c.id).where(_THIS).with_for_update(read=True))


def held(tx: Tx, execution_id: str, epoch: int) -> bool:
    """Is this still the newest epoch? Nobody adopts before the unit that asks is over."""
    if tx.run(_HELD, {"execution": execution_id, "epoch": epoch}).first() is not None:
        return True
    figures.refused(tx, "log")
    return False


def holding(tx: Tx, execution_id: str, epoch: int) -> Row[Any] | None:
    """The RUNNING execution, if this is its newest epoch."""
    mine = (executions.c.id == execution_id) & (executions.c.epoch == epoch) & RUNNING
    return tx.one(sa.select(executions).where(mine).with_for_update(read=True))


def adopt(tx: Tx, owner: str, engines: Sequence[str], driven: Collection[str] = ()) -> Row[Any] | None:
    """Take over one execution whose lease ran out and whose engine this worker reaches, with the next epoch; not one
    that it holds and still drives: its next heartbeat renews that."""
    now = tx.now()
    lost = RUNNING & (executions.c.lease_until < now)
    lost &= executions.c.engine.in_(engines) | executions.c.engine.is_(None)
    lost &= (executions.c.lease_owner != owner) | executions.c.id.not_in(driven)
    found = tx.one(sa.select(executions.c.id, executions.c.epoch).where(lost).limit(1))
    if found is None:
        return None
    mine = (executions.c.id == found.id) & (executions.c.epoch == found.epoch) & lost
    lease = {"lease_owner": owner, "lease_until": now + LEASE, "epoch": found.epoch + 1}
    row = tx.execute(sa.update(executions).where(mine).values(lease).returning(executions)).first()
    if row:
        events.append(tx, row.account_id, row.id, "execution.adopted", owner=owner, epoch=row.epoch)
        figures.adopted(tx)
    return row


def inherit(tx: Tx, execution_id: str, epoch: int) -> Row[Any] | None:
    """Take what is left of a final execution from a runner that died, with the next epoch: should that one come back,
    it stores and removes nothing."""
    mine = (executions.c.id == execution_id) & (executions.c.epoch == epoch)
    left = mine & executions.c.state.in_(FINAL) & executions.c.cleaned_at.is_(None)
    return tx.execute(sa.update(executions).where(left).values(epoch=epoch + 1).returning(executions)).first()


def release(tx: Tx, owner: str) -> int:
    """Give up the leases of a worker that stops or is known to be dead, so that the next one adopts at once.

    `owner` may end in `%`: all workers of one instance.
    """
    mine = executions.c.lease_owner.like(owner) & RUNNING
    return tx.execute(sa.update(executions).where(mine).values(lease_until=tx.now())).rowcount


def withdraw(tx: Tx, lifecycle: Lifecycle) -> int:
    """End PENDING executions that are not wanted any more. Returns how many."""
    unwanted = sa.select(executions).where(PENDING, executions.c.stop_intent.is_not(None))
    ended = 0
    for row in tx.execute(unwanted.order_by(executions.c.created_at).limit(SWEPT)).all():
        ended += lifecycle.end(tx, row.id, Cause(row.stop_intent), message="Cancelled before it began.")
    return ended


def sweep(tx: Tx, lifecycle: Lifecycle) -> int:
    """End RUNNING executions that nobody holds and that stayed unadopted. Returns how many."""
    now, ended = tx.now(), 0
    lost = sa.select(executions).where(RUNNING, executions.c.lease_until < now - UNADOPTED)
    for row in tx.execute(lost.limit(SWEPT).with_for_update(skip_locked=True)).all():  # who renews it now is not lost
        wall_s = row.wall_s if (now - row.claimed_at).total_seconds() >= row.wall_s else None
        stopped = row.stop_intent and diagnosis.stopped(Cause(row.stop_intent), row.timeout_s, wall_s=wall_s)
        why = stopped or diagnosis.LOST
        ended += lifecycle.end(tx, row.id, why.cause, message=why.message, hint=why.hint, epoch=row.epoch)
    return ended


def overdue(tx: Tx) -> int:
    """Set the stop intent of RUNNING executions whose active time or wall time is over. Returns how many."""
    now = tx.now()
    return sum(intend(tx, row.account_id, row.id, Cause.TIMEOUT, by="clock") for row in _late(tx, now))


_TIMES = ("id", "account_id", "claimed_at", "ended_at", "waiting_since", "waited_ms", "timeout_s", "wall_s")


def _late(tx: Tx, now: datetime) -> Iterator[Row[Any]]:
    still = RUNNING & WANTED & executions.c.agent_ended_at.is_(None)  # of one that has ended only the log is read
    for row in tx.execute(sa.select(*(executions.c[name] for name in _TIMES)).where(still)).all():
        if active(row, now) >= row.timeout_s or (now - row.claimed_at).total_seconds() >= row.wall_s:
            yield row


def active(row: Row[Any], now: datetime) -> float:
    """Seconds an execution has worked since its claim, approval waits not counted."""
    if row.claimed_at is None:
        return 0.0
    waiting = (now - row.waiting_since).total_seconds() if row.waiting_since else 0.0
    return float(((row.ended_at or now) - row.claimed_at).total_seconds() - row.waited_ms / 1000 - waiting)
