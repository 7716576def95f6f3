"""Telling other systems that an execution ended: queued with its end, sent later, so that neither is without the other.

What is told has no argument, no payload and no prompt in it.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Row

from control import events, outbox
from kit.db import Tx

TOPIC = "execution.ended"


def queue(tx: Tx, ended: Row[Any], channels: Sequence[str]) -> None:
    """One message for each channel, about an execution as it ended."""
    told = {"execution_id": ended.id, "flow": ended.flow_name, "state": ended.state}
    told |= {"cause": ended.cause, "message": ended.message or "", "metered": ended.unmetered_at is None}
    for channel in channels:
        outbox.add(tx, ended.account_id, channel=channel, topic=TOPIC, target=channel, payload=told)


def said(row: Row[Any], public_url: str, cost_usd: str | None) -> dict[str, Any]:
    """The body of one attempt; the cost is what the ledger knows by then, None when that is unknown."""
    told = {"metered": True} | outbox.payload(row)  # queued before there was another way than the gateway
    url = f"{public_url}/executions/{told['execution_id']}"
    return {"type": TOPIC, "data": told | {"url": url, "cost_usd": cost_usd}}


def noted(tx: Tx, row: Row[Any], error: str | None, *, final: bool = False) -> None:
    """How an attempt went, in the outbox and in the execution's record."""
    stream = outbox.payload(row)["execution_id"]
    if error is None:
        outbox.sent(tx, row.id)
        events.append(tx, row.account_id, stream, "webhook.sent", channel=row.channel)
        return
    last = outbox.failed(tx, row, error, final=final)
    told = {"channel": row.channel, "error": error[:500], "attempt": row.attempts, "final": last}
    events.append(tx, row.account_id, stream, "webhook.failed", **told)
