"""Telling approvers: what a notice says and to whom. Sending is `preloop/chores`, through the outbox.

A notice names the tool and the deadline, never the arguments. Its link is minted when it is sent, one per approver and
attempt, and only the hash is kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events, outbox
from control.approvals import links
from control.approvals.directory import Approver
from control.executions.toolcalls import Call
from control.identity.principals import Principal
from control.tables import approvals
from kit.clock import rfc3339
from kit.db import Tx

REQUESTED = "approval.requested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What one attempt sends."""

    channel: str
    target: str
    message_id: str
    topic: str
    data: dict[str, Any]
    link: str


def request(
    tx: Tx, principal: Principal, *, approval_id: str, call: Call, members: Sequence[Approver], expires_at: datetime
) -> None:
    """Queue a notice for every channel of every approver."""
    for member in members:
        for channel in member.notify:
            payload = {
                "approval_id": approval_id,
                "execution_id": principal.execution_id,
                "flow": principal.charter.flow,
                "server": call.server,
                "tool": call.tool,
                "approver": member.id,
                "expires_at": rfc3339(expires_at),
            }
            outbox.add(tx, principal.account_id, channel=channel, topic=REQUESTED, target=member.id, payload=payload)


def compose(tx: Tx, row: Row[Any], public_url: str) -> Notice | None:
    """The notice for one attempt with a link of its own; None when nobody needs it any more."""
    data = outbox.payload(row)
    approval = tx.one(sa.select(approvals).where(approvals.c.id == data["approval_id"]))
    if approval is None or approval.status != "pending":
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
        link=f"{public_url}/a/{clear}",
    )


def outcome(tx: Tx, row: Row[Any], error: str | None) -> None:
    """Note how an attempt went, in the outbox and in the run's events."""
    data = outbox.payload(row)
    stream = data["execution_id"]
    if error is None:
        outbox.sent(tx, row.id)
        if stream:
            events.append(tx, row.account_id, stream, "notice.sent", channel=row.channel, approver=data["approver"])
    elif outbox.failed(tx, row, error) and stream:
        told = {"channel": row.channel, "approver": data["approver"], "error": error[:500]}
        events.append(tx, row.account_id, stream, "notice.failed", **told)
