"""The row of an approval: opened within bounds, locked in the order every unit keeps, closed once.

Who may decide it is the directory's and `asked`; what a decision does to call and run is next door in `desk`.
"""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import policy
from control.approvals.directory import Approver, Directory
from control.approvals.policy import Ask
from control.executions import toolcalls
from control.executions.toolcalls import Call
from control.identity import charter as charters
from control.identity.charter import Gate
from control.identity.principals import Principal
from control.identity.sessions import owner
from control.tables import approvals, executions, sessions, tool_calls
from control.tables import events as recorded
from kit import canonical
from kit.clock import rfc3339
from kit.db import Database, Tx
from kit.errors import Missing
from kit.ids import new_id
from kit.metrics import PATIENCE, Counter, Histogram

TOPIC = "approvals"
"""Woken when the list of open approvals changes."""
MOST_OPEN = 10
MOST_HOURLY = 30
"""How many requests one session may have open, and may make within an hour."""
OUTCOMES = Counter("preloop_approvals_total", "Requests that ended, by how.", "tool", "rule", "outcome")
DECIDED_S = Histogram("preloop_approval_decision_seconds", "From request to verdict.", "verdict", bounds=PATIENCE)
_PENDING = approvals.c.status == sa.literal_column("'pending'")  # a word: only so is its index enough
MOST_BYTES = 64 * 1024
MOST_ROWS = 200
"""Beyond this nobody can look at the arguments, so nobody is asked."""


class Status(StrEnum):
    PENDING = "pending"  # people are asked
    APPROVED = "approved"  # the yes waits to be used
    DECLINED = "declined"  # somebody said no
    EXPIRED = "expired"  # nobody decided in time
    WITHDRAWN = "withdrawn"  # nobody needs it any more
    VOID = "void"  # the tool is not what was asked about
    CONSUMED = "consumed"  # the yes was used
    LAPSED = "lapsed"  # the yes was not used


def too_many(tx: Tx, principal: Principal) -> str | None:
    """Why this session may ask nothing more at present. Its row is held, so that parallel calls count each other."""
    mine = approvals.c.session_id == principal.session_id
    count = sa.select(sa.func.count()).select_from(approvals)
    if tx.execute(count.where(mine, approvals.c.status == Status.PENDING)).scalar_one() >= MOST_OPEN:
        return f"{MOST_OPEN} requests of this run wait for a person already. Call again when some are decided"
    lately = approvals.c.asked_at > tx.now() - timedelta(hours=1)
    if tx.execute(count.where(mine, lately)).scalar_one() >= MOST_HOURLY:
        return f"people were asked {MOST_HOURLY} times within the hour for this run. Do not ask again before it is over"
    return None


def declined(tx: Tx, principal: Principal, call: Call) -> Row[Any] | None:
    """When a person said no to exactly this in this session, and what the agent was told: {decided_at, error}."""
    same = (tool_calls.c.session_id == principal.session_id) & (tool_calls.c.digest == call.digest)
    same &= (tool_calls.c.server == call.server) & (tool_calls.c.tool == call.tool)
    asked = sa.select(approvals.c.decided_at, tool_calls.c.error).join(
        approvals, approvals.c.call_id == tool_calls.c.id
    )
    no = asked.where(same, tool_calls.c.status == toolcalls.Status.DECLINED, approvals.c.status == Status.DECLINED)
    return tx.execute(no.order_by(approvals.c.decided_at.desc()).limit(1)).first()


def too_big(call: Call) -> str | None:
    """Why nobody could look at these arguments."""
    if len(call.args.encode()) > MOST_BYTES:
        return f"its arguments are larger than {MOST_BYTES // 1024} KB, more than a person can look at"
    if _leaves(canonical.parse(call.args)) > MOST_ROWS:
        return f"its arguments are more than {MOST_ROWS} values, more than a person can look at"
    return None


def _leaves(value: object) -> int:
    if isinstance(value, dict):
        return sum(map(_leaves, value.values())) or 1
    return (sum(map(_leaves, value)) or 1) if isinstance(value, list) else 1


def open_(tx: Tx, principal: Principal, call_id: str, ask: Ask, *, call: Call, asked: list[str]) -> Row[Any]:
    """A new pending row and its event, which holds the digest of what is shown."""
    now = tx.now()
    values = {
        "id": new_id("apr"),
        "account_id": principal.account_id,
        "session_id": principal.session_id,
        "execution_id": principal.execution_id,
        "call_id": call_id,
        "approver_group": ask.gate.group,
        "quorum": ask.gate.quorum,
        "rule": ask.rule,
        "asked_at": now,
        "expires_at": now + timedelta(seconds=ask.gate.timeout_s),
        "requester": requester(tx, principal),
        "four_eyes": ask.gate.four_eyes,
        "confirm": ask.gate.confirm,
        "sign_in": ask.gate.sign_in,
        "summary": ask.gate.summary,
        "escalate_to": ask.gate.escalate,
        "also": canonical.dumps([asdict(gate) for gate in ask.also]) if ask.also else None,
    }
    row = tx.execute(sa.insert(approvals).values(values).returning(approvals)).one()
    data = {"approval": row.id, "call": call_id, "server": call.server, "tool": call.tool, "digest": call.digest}
    data |= {"asked": asked, "expires": rfc3339(row.expires_at)}
    events.append(tx, principal.account_id, principal.stream, "approval.asked", **data)
    tx.wake(TOPIC)
    return row


def requester(tx: Tx, principal: Principal) -> str | None:
    """The e-mail address of the person behind a session: who started the run, or enrolled the agent; None when it was
    no person."""
    if principal.execution_id is None:
        return owner(tx, principal.session_id)
    first = (recorded.c.account_id == principal.account_id) & (recorded.c.stream == principal.execution_id)
    body = tx.execute(sa.select(recorded.c.body).where(first, recorded.c.seq == 1)).scalar()
    by = canonical.parse(body)["data"].get("by", "") if body else ""
    return str(by) if "@" in str(by) else None


def gates(row: Row[Any]) -> tuple[Gate, ...]:
    """All that must be passed: the strictest, and those of other groups that fired for the same call."""
    first = Gate(group=row.approver_group, quorum=row.quorum, escalate=row.escalate_to, four_eyes=row.four_eyes)
    return (first, *(Gate(**gate) for gate in canonical.parse(row.also or "[]")))


def groups(row: Row[Any]) -> tuple[str, ...]:
    """The groups that a request with one gate really asked: its own, then the next one once it was asked too."""
    return (row.approver_group, row.escalate_to) if row.escalate_to and row.escalated_at else (row.approver_group,)


def members(directory: Directory, row: Row[Any], gate: Gate) -> tuple[Approver, ...]:
    """Whose yes counts for one gate: the group's, and the next one's too once it was asked."""
    return directory.asked(gate.group, gate.escalate if went_on(row, gate) else None)


def went_on(row: Row[Any], gate: Gate) -> bool:
    """Was the next group of this gate asked too? Before its time only where nobody of the gate's own could be told."""
    if not (gate.escalate and row.escalated_at):
        return False
    return row.escalated_early is None or gate.group in canonical.parse(row.escalated_early)


def asked(directory: Directory, row: Row[Any]) -> tuple[Approver, ...]:
    """Who may decide: the members of every gate, nobody twice."""
    return tuple(dict.fromkeys(member for gate in gates(row) for member in members(directory, row, gate)))


def lacking(directory: Directory, row: Row[Any], yes: Collection[str]) -> tuple[Gate, ...]:
    """The gates that are not passed yet. Each wants enough different people of its own, and under four eyes one of them
    who is not the run's requester; somebody who is in two groups speaks for both."""
    return tuple(gate for gate in gates(row) if not _passed(row, gate, members(directory, row, gate), yes))


def _passed(row: Row[Any], gate: Gate, people: Collection[Approver], yes: Collection[str]) -> bool:
    agreed = [one for one in people if one.id in yes]
    others = [one for one in agreed if not (gate.four_eyes and is_requester(one, row.requester))]
    return len(agreed) >= gate.quorum and bool(others)


def one_decides(row: Row[Any]) -> bool:
    """Is one yes enough, so that whoever gives it may also change the arguments, or say yes to more calls?"""
    return bool(row.quorum == 1 and not row.also)


def is_requester(approver: Approver, email: str | None) -> bool:
    """May this approver be the person behind the run? Of one without an address nobody knows, so it counts as if."""
    return bool(email) and (not approver.email or approver.email.lower() == str(email).lower())


def locked(tx: Tx, account_id: str, approval_id: str) -> Row[Any]:
    """The approval, its execution's row taken first: the order every unit keeps."""
    mine = (approvals.c.id == approval_id) & (approvals.c.account_id == account_id)
    found = tx.one(sa.select(approvals.c.execution_id).where(mine))
    if found is None:
        raise Missing(
            "approval_unknown", f"There is no approval {approval_id}.", "`preloop approvals list` names them."
        )
    if found.execution_id:
        held = executions.c.id == found.execution_id
        tx.execute(sa.update(executions).where(held).values(open_approvals=executions.c.open_approvals))
    touched = sa.update(approvals).where(mine).values(quorum=approvals.c.quorum)
    return tx.execute(touched.returning(approvals)).one()


def close(tx: Tx, row: Row[Any], status: Status, *, by: str | None, reason: str | None) -> bool:
    """The verdict itself: one conditional UPDATE; False when somebody else made it."""
    pending = (approvals.c.id == row.id) & (approvals.c.status == Status.PENDING)
    now = tx.now()
    values = {"status": status.value, "decided_at": now, "decided_by": by, "reason": reason or None}
    if not tx.changed(sa.update(approvals).where(pending).values(values)):
        return False
    count(tx, row, status)
    closed(tx, row, status, at=now, by=by, reason=reason)
    tx.wake(TOPIC)
    return True


def closed(tx: Tx, row: Row[Any], status: Status, *, at: datetime, by: str | None, reason: str | None) -> None:
    """The event of an end, with all that the row says of it."""
    data = {"approval": row.id, "status": status.value, "by": by, "reason": reason, "decided": rfc3339(at)}
    events.append(tx, row.account_id, events.stream_of(row), "approval.closed", **data)


def count(tx: Tx, row: Row[Any], status: Status) -> None:
    """A request has ended like this. What a rule could not decide counts as one, whatever the model wrote."""
    tool = tx.execute(sa.select(tool_calls.c.tool).where(tool_calls.c.id == row.call_id)).scalar_one()
    waited = (tx.now() - row.asked_at).total_seconds()
    rule = policy.without_error(row.rule)

    def counted() -> None:
        OUTCOMES.add(tool, rule, status)
        if status in (Status.APPROVED, Status.DECLINED):
            DECIDED_S.observe(waited, status)

    tx.at_last(counted)


async def pending(db: Database) -> tuple[int, datetime | None]:
    """How many requests are open, of all accounts, and since when the oldest of them is."""
    oldest = sa.func.min(approvals.c.asked_at).label("oldest")
    row = (await db.read(sa.select(sa.func.count().label("open"), oldest).where(_PENDING)))[0]
    return int(row.open), row.oldest


def charter(tx: Tx, session_id: str) -> charters.Charter:
    return charters.loads(tx.execute(sa.select(sessions.c.charter).where(sessions.c.id == session_id)).scalar_one())
