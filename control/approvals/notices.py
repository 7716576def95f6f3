"""Telling approvers: what a notice says and to whom. Sending is `preloop/channels`, through the outbox.

A notice names the tool and the deadline, never the arguments. Its link is minted when it is sent, one per approver and
attempt, and only the hash is kept. Once links of its request were revoked it has none, and tells to sign in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events, outbox
from control.approvals import links, requests
from control.approvals.directory import Approver
from control.tables import approvals, executions, sessions
from kit.clock import rfc3339
from kit.db import Tx
from kit.metrics import Counter

NOTICES = Counter("preloop_notices_total", "Attempts to tell people, by how they went.", "channel", "outcome")
REQUESTED = "approval.requested"
REMINDED = "approval.reminded"
ESCALATED = "approval.escalated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What one attempt sends."""

    channel: str
    target: str
    message_id: str
    topic: str
    data: dict[str, Any]
    page: str
    """Where somebody who has signed in decides."""
    link: str | None
    """Opens the request without signing in; None when its links were revoked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt did not arrive; `final` when another one would not either, `absent` when nobody answered."""

    reason: str
    final: bool = False
    absent: bool = False


def queue(tx: Tx, row: Row[Any], call: Row[Any], members: Sequence[Approver], *, topic: str) -> None:
    """Queue a notice of a request for every channel of every approver."""
    asks = _asks(tx, row)
    for member in members:
        for channel in member.notify:
            payload = asks | {
                "approval_id": row.id,
                "execution_id": row.execution_id,
                "server": call.server,
                "tool": call.tool,
                "approver": member.id,
                "risk": "high" if row.confirm == "typed" or row.sign_in else "normal",
                "expires_at": rfc3339(row.expires_at),
            }
            outbox.add(tx, row.account_id, channel=channel, topic=topic, target=member.id, payload=payload)


def _asks(tx: Tx, row: Row[Any]) -> dict[str, str | None]:
    """The flow that asks, or the enrolled agent, which has none."""
    if row.execution_id:
        flow = tx.execute(sa.select(executions.c.flow_name).where(executions.c.id == row.execution_id)).scalar()
        return {"flow": str(flow), "agent": None}
    agent = tx.execute(sa.select(sessions.c.principal).where(sessions.c.id == row.session_id)).scalar()
    return {"flow": None, "agent": str(agent)}


def compose(tx: Tx, row: Row[Any], public_url: str) -> Notice | None:
    """The notice for one attempt, with a link of its own unless links were revoked; None when nobody needs it any
    more."""
    data = outbox.payload(row)
    approval = tx.one(sa.select(approvals).where(approvals.c.id == data["approval_id"]))
    if approval is None or approval.status != requests.Status.PENDING:
        outbox.sent(tx, row.id)
        return None
    clear = links.mint(
        tx, row.account_id, approval_id=approval.id, approver=data["approver"], expires_at=approval.expires_at
    )
    return Notice(
        channel=row.channel,
        target=row.target,
        message_id=row.id,
        topic=row.topic,
        data=data,
        page=f"{public_url}/approvals/{approval.id}",
        link=f"{public_url}/a/{clear}" if clear else None,
    )


def outcome(tx: Tx, row: Row[Any], failure: Failure | None) -> bool:
    """Note how an attempt went, in the outbox and in the record; True when it failed and there will be no other."""
    data = outbox.payload(row)
    approval = tx.one(sa.select(approvals).where(approvals.c.id == data["approval_id"]))
    stream = data["execution_id"] or (approval.session_id if approval else events.ACCOUNT)
    if failure is None:
        tx.at_last(lambda: NOTICES.add(row.channel, "sent"))
        outbox.sent(tx, row.id)
        events.append(tx, row.account_id, stream, "notice.sent", channel=row.channel, approver=data["approver"])
        return False
    last = outbox.failed(tx, row, failure.reason, final=failure.final)
    tx.at_last(lambda: NOTICES.add(row.channel, "given up" if last else "failed"))
    told = {"channel": row.channel, "approver": data["approver"], "error": failure.reason[:500]}
    events.append(tx, row.account_id, stream, "notice.failed", **told, attempt=row.attempts, final=last)
    return last
