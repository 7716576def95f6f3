"""The durable row of a tool call, from request to result. Who must say yes is next door in `approvals/desk`.

A call is one row per (session, server, tool, argument digest) while it is open; a re-issued call attaches to it. It
is sent by exactly one sender, once: a call that was sent and not settled in its time is `unknown` and is never sent
again. Every end has its event, and the row keeps that event's number: the receipt.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import figures
from control.executions.states import Stored
from control.identity.principals import Principal
from control.tables import events as recorded
from control.tables import executions, sessions, tool_calls
from kit import canonical
from kit.db import Database, Tx
from kit.ids import new_id
from kit.prepared import Prepared, row_class

REATTACH = timedelta(seconds=120)
"""How long an answer that was never delivered waits for its caller to come back."""
OUTAGE = timedelta(hours=1)
"""How old it may be while a process is new: as long as nobody answered, nobody could come back."""
BEGAN = datetime.now(UTC)  # this process


class Status(StrEnum):
    READY = "ready"  # may be sent: no rule asks, or the yes is there
    WAITING = "waiting"  # a person is asked
    SENT = "sent"  # the upstream has it
    SUCCEEDED = "succeeded"  # the upstream answered
    FAILED = "failed"  # the upstream answered with an error, or could not be reached before the call was sent
    DENIED = "denied"  # a rule says no
    DECLINED = "declined"  # a person says no
    EXPIRED = "expired"  # nobody said anything in time
    WITHDRAWN = "withdrawn"  # the run ended before the answer
    UNKNOWN = "unknown"  # sent, and nobody knows what became of it


OPEN = (Status.READY, Status.WAITING, Status.SENT)
REFUSED = (Status.DENIED, Status.DECLINED, Status.EXPIRED, Status.WITHDRAWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What an agent asks for: `args` are canonical JSON without the justification, `digest` is over them."""

    server: str
    tool: str
    name: str
    args: str
    digest: str
    definition_digest: str | None = None
    justification: str | None = None


SETTLEMENT = ("status", "settled_at", "is_error", "error", "result")

# built once: to build and to recognise a statement costs ten times what it costs to run it
_ID = tool_calls.c.id == sa.bindparam("call")
_RUNNING = (executions.c.id == sa.bindparam("execution")) & (executions.c.state == Stored.RUNNING)
_TAKE_RUN = Prepared(
    sa.select(executions.c.id).where(_RUNNING, executions.c.stop_intent.is_(None)).with_for_update(key_share=True)
)
_RUNS = Prepared(sa.select(executions.c.id).where(_RUNNING))
_LIVING = (sessions.c.id == sa.bindparam("session")) & sessions.c.revoked_at.is_(None)
_TAKE_SESSION = Prepared(sa.select(sessions.c.id).where(_LIVING).with_for_update(key_share=True))
_SAME = (tool_calls.c.session_id == sa.bindparam("session")) & (tool_calls.c.digest == sa.bindparam("digest"))
_SAME &= (tool_calls.c.server == sa.bindparam("server")) & (tool_calls.c.tool == sa.bindparam("tool"))
_HELD = tool_calls.c.status.in_([*OPEN, Status.UNKNOWN])
_UNDELIVERED = tool_calls.c.delivered_at.is_(None) & (tool_calls.c.settled_at > sa.bindparam("since"))
_FOUND = sa.select(tool_calls).where(_SAME, _HELD | _UNDELIVERED)
_KNOWN = Prepared(_FOUND.order_by(tool_calls.c.asked_at.desc()).limit(1))
_NEW = Prepared(sa.insert(tool_calls))
_SEND = Prepared(
    sa.update(tool_calls)
    .where(_ID, tool_calls.c.status == Status.READY)
    .values(status=Status.SENT.value, sent_at=sa.bindparam("now"), send_until=sa.bindparam("until"))
)
_SETTLE = sa.update(tool_calls).where(_ID, tool_calls.c.status.in_([Status.SENT, Status.UNKNOWN]))
_WHOSE = [tool_calls.c[name] for name in ("id", "account_id", "session_id", "execution_id", "server", "tool")]
_SETTLED = Prepared(_SETTLE.values({name: sa.bindparam(f"its_{name}") for name in SETTLEMENT}).returning(*_WHOSE))
_RECEIPT = Prepared(sa.update(tool_calls).where(_ID).values(receipt_seq=sa.bindparam("seq")))
_DELIVERED = Prepared(
    sa.update(tool_calls).where(_ID, tool_calls.c.delivered_at.is_(None)).values(delivered_at=sa.bindparam("now"))
)
_ITS = (recorded.c.account_id == tool_calls.c.account_id) & (recorded.c.seq == tool_calls.c.receipt_seq)
_ITS &= recorded.c.stream == sa.func.coalesce(tool_calls.c.execution_id, tool_calls.c.session_id)
_LOOK = Prepared(sa.select(tool_calls, recorded.c.hash.label("receipt_hash")).outerjoin(recorded, _ITS).where(_ID))
_Row = row_class([*tool_calls.c.keys(), "receipt_hash"])
"""What `look` reads, made here where a unit knows all of it."""


def topic(call_id: str) -> str:
    """Woken at every change of a call."""
    return f"call:{call_id}"


def alive(tx: Tx, principal: Principal) -> bool:
    """May this session still act? Takes the session's row, so that an end waits for us or we see it."""
    if principal.execution_id and tx.run(_TAKE_RUN, {"execution": principal.execution_id}).first() is None:
        return False
    return tx.run(_TAKE_SESSION, {"session": principal.session_id}).first() is not None


def reattach(tx: Tx, principal: Principal, call: Call, *, began: datetime = BEGAN) -> Row[Any] | None:
    """The row this call belongs to: an open one, one whose outcome nobody knows, or one that ended lately and whose
    answer nobody got. Just after this process `began`, the time before it does not count."""
    lately = OUTAGE if tx.now() < began + REATTACH else REATTACH
    same = {"session": principal.session_id, "digest": call.digest, "server": call.server, "tool": call.tool}
    known: Row[Any] | None = tx.run(_KNOWN, same | {"since": tx.now() - lately}).first()
    return known


def record(
    tx: Tx,
    principal: Principal,
    call: Call,
    status: Status,
    *,
    rule: str,
    context: str,
    error: str = "",
    grant_id: str | None = None,
) -> str:
    """A new row and its event; returns the call's id."""
    row, seq = _asked(tx, principal, call, status, rule=rule, context=context, grant_id=grant_id)
    if status not in OPEN:
        row |= {"settled_at": row["asked_at"], "receipt_seq": seq}
        figures.called(tx, call.server, status)
    tx.run(_NEW, row | {"status": status.value, "error": error or None})
    return str(row["id"])


def begin(tx: Tx, principal: Principal, call: Call, *, rule: str, context: str, within: timedelta) -> Row[Any] | None:
    """A new row of a call that nobody is asked about, and at once its one sender: `record` and `claim` in one. None,
    and nothing done, when the session may not act or such a call is known."""
    if not alive(tx, principal) or reattach(tx, principal, call) is not None:
        return None
    row, _ = _asked(tx, principal, call, Status.READY, rule=rule, context=context)
    row |= {"status": Status.SENT.value, "sent_at": row["asked_at"], "send_until": row["asked_at"] + within}
    tx.run(_NEW, row)
    _sent(tx, principal, row["id"])
    made: Row[Any] = _Row(**row)
    return made


def _asked(
    tx: Tx, principal: Principal, call: Call, status: Status, *, rule: str, context: str, grant_id: str | None = None
) -> tuple[dict[str, Any], int]:
    """The event that a call was asked for; (the columns every new row has, the event's number)."""
    call_id = new_id("tcl")
    data = {"call": call_id, "server": call.server, "tool": call.tool, "status": status.value, "rule": rule}
    seq = events.append(tx, principal.account_id, principal.stream, "tool.asked", **data)
    row = dict(
        id=call_id,
        account_id=principal.account_id,
        session_id=principal.session_id,
        execution_id=principal.execution_id,
        server=call.server,
        tool=call.tool,
        name=call.name,
        args=call.args,
        digest=call.digest,
        definition_digest=call.definition_digest,
        justification=call.justification,
        rule=rule,
        context=context,
        asked_at=tx.now(),
        grant_id=grant_id,
    )
    return row, seq


def claim(tx: Tx, principal: Principal, call_id: str, *, within: timedelta) -> bool:
    """Become the one sender of a call. False when somebody else is, or when the run may not act any more."""
    if not alive(tx, principal):
        return False
    now = tx.now()
    if not tx.run(_SEND, {"call": call_id, "now": now, "until": now + within}).rowcount:
        return False
    _sent(tx, principal, call_id)
    return True


def _sent(tx: Tx, principal: Principal, call_id: str) -> None:
    events.append(tx, principal.account_id, principal.stream, "tool.sent", call=call_id)
    tx.wake(topic(call_id))


def settle(tx: Tx, call_id: str, *, result: dict[str, Any] | None, is_error: bool, error: str | None = None) -> int:
    """Store what came back for a call that was sent; the number of its event, 0 when it was settled before. A result
    after the end of the run is stored and marked late."""
    status = Status.FAILED if is_error else Status.SUCCEEDED
    text = canonical.dumps(result) if result is not None else None
    values = dict(zip(SETTLEMENT, (status.value, tx.now(), is_error, error, text), strict=True))
    row = tx.run(_SETTLED, {"call": call_id} | {f"its_{name}": value for name, value in values.items()}).first()
    if row is None:
        return 0
    late = bool(row.execution_id) and tx.run(_RUNS, {"execution": row.execution_id}).first() is None
    if late:
        tx.execute(sa.update(tool_calls).where(tool_calls.c.id == call_id).values(late=True))
    data = {"call": call_id, "tool": row.tool, "error": error, "late": late}
    seq = _ended(tx, row, "tool.settled", status, **data)
    _, hash_ = events.head(tx, row.account_id, events.stream_of(row))
    tx.memo[_Row, call_id] = values | {"late": late, "receipt_seq": seq, "receipt_hash": hash_}
    return seq


def _ended(tx: Tx, row: Row[Any], type_: str, status: Status, **data: object) -> int:
    """The event of a call's end, kept as its receipt."""
    seq = events.append(tx, row.account_id, events.stream_of(row), type_, **data, status=status.value)
    figures.called(tx, row.server, status)
    tx.run(_RECEIPT, {"call": row.id, "seq": seq})
    tx.wake(topic(row.id))
    return seq


def prolong(tx: Tx, call_id: str, within: timedelta) -> None:
    """The upstream of a call that was sent gave a sign: its answer is due later."""
    sent = (tool_calls.c.id == call_id) & (tool_calls.c.status == Status.SENT)
    tx.execute(sa.update(tool_calls).where(sent).values(send_until=tx.now() + within))


def give_up(tx: Tx, call_id: str, *, at_once: bool = False, error: str | None = None) -> bool:
    """A call that was sent and not settled in its time: nobody knows what happened, and it is never sent again.

    `at_once` is for the sender itself, when it lost the upstream in mid-call, and for a caller who takes it back;
    `error` says why there is no answer.
    """
    sent = (tool_calls.c.id == call_id) & (tool_calls.c.status == Status.SENT)
    overdue = sent if at_once else sent & (tool_calls.c.send_until < tx.now())
    lost = sa.update(tool_calls).where(overdue).values(status=Status.UNKNOWN.value, settled_at=tx.now(), error=error)
    row = tx.execute(lost.returning(tool_calls)).first()
    if row:
        _ended(tx, row, "tool.unknown", Status.UNKNOWN, call=call_id, tool=row.tool)
    return row is not None


def delivered(tx: Tx, call_id: str) -> None:
    """The caller has its answer; an identical call from now on is a new one."""
    tx.run(_DELIVERED, {"call": call_id, "now": tx.now()})


def close(tx: Tx, call_id: str, status: Status, error: str) -> bool:
    """End a call that waits or is ready without sending it."""
    open_ = (tool_calls.c.id == call_id) & tool_calls.c.status.in_([Status.READY, Status.WAITING])
    now = tx.now()
    ended = sa.update(tool_calls).where(open_).values(status=status.value, error=error, settled_at=now, is_error=True)
    row = tx.execute(ended.returning(tool_calls)).first()
    if row:
        _ended(tx, row, "tool.closed", status, call=call_id, tool=row.tool, error=error)
    return row is not None


def row(tx: Tx, call_id: str) -> Row[Any]:
    """The call as it is now."""
    return tx.execute(sa.select(tool_calls).where(tool_calls.c.id == call_id)).one()


def to_send(row: Row[Any]) -> dict[str, Any]:
    """The arguments that go upstream: as asked for, or as a person changed them."""
    found: dict[str, Any] = json.loads(row.approved_args or row.args)
    return found


async def look(db: Database, call_id: str) -> Row[Any]:
    """The row as it is now, with `receipt_hash`, the hash of the event that tells how it ended."""
    return (await db.read(_LOOK.statement, {"call": call_id}))[0]


def seen(tx: Tx, call_id: str, claimed: Row[Any] | None = None) -> Row[Any]:
    """What `look` reads, inside of a unit. A unit that settles a call it has the `claimed` row of reads nothing."""
    if claimed is not None and (settled := tx.memo.get((_Row, call_id))):
        row: Row[Any] = _Row(**claimed._asdict() | settled)
    else:
        row = tx.run(_LOOK, {"call": call_id}).one()
    return row


def receipt(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """Where the record tells how a call ended: {stream, seq, hash}, of the columns that `look` reads."""
    if row.get("receipt_hash") is None:
        return None
    return {"stream": row["execution_id"] or row["session_id"], "seq": row["receipt_seq"], "hash": row["receipt_hash"]}


def result(row: Row[Any]) -> dict[str, Any] | None:
    """The upstream's recorded answer."""
    return json.loads(row.result) if row.result else None
