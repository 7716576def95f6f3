"""Looked at once more in the unit that sends a call: all that its yes was given under still holds.

The run itself is looked at by `executions/toolcalls`, in the same unit.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.approvals import endings, pins, policy, requests, standing
from control.executions import toolcalls
from control.identity import charter as charters
from control.identity.principals import Principal
from control.tables import approvals, sessions
from kit.db import Tx
from kit.prepared import Prepared

REVOKED = "The standing yes for it was revoked. Call the tool again: a person is asked then."
_ASKED = Prepared(sa.select(approvals).where(approvals.c.call_id == sa.bindparam("call")))
_CONSUME = Prepared(
    sa.update(approvals)
    .where(approvals.c.call_id == sa.bindparam("call"), approvals.c.status == requests.Status.APPROVED)
    .values(status=requests.Status.CONSUMED.value)
)


def holds(tx: Tx, principal: Principal, call_id: str) -> bool:
    """May this call be sent for this principal, as far as people were asked? Where the yes is worth nothing any more it
    is closed, and so is the call."""
    found = tx.run(_ASKED, {"call": call_id}).first()
    if found is None:  # nobody had to be asked, or a standing yes answered
        if standing.taken_back(tx, principal, call_id):
            toolcalls.close(tx, call_id, toolcalls.Status.WITHDRAWN, REVOKED)
            return False
        return True
    row = requests.locked(tx, found.account_id, found.id)
    living = sa.select(sessions.c.charter).where(sessions.c.id == row.session_id, sessions.c.alive_until > tx.now())
    charter = tx.execute(living).scalar()
    if row.status != requests.Status.APPROVED or row.session_id != principal.session_id or charter is None:
        return False
    if endings.late(tx, row):
        endings.lapsed(tx, row)
        return False
    if why := _changed(tx, toolcalls.seen(tx, call_id), charters.loads(charter)):
        endings.spoil(tx, row, why)
        return False
    return True


def consume(tx: Tx, call_id: str) -> None:
    """The yes is spent."""
    tx.run(_CONSUME, {"call": call_id})


def _changed(tx: Tx, call: Row[Any], charter: charters.Charter) -> str | None:
    """Why this is not the tool any more that people said yes to."""
    if not policy.matching(charter.tools, call.server, call.tool):
        return policy.not_listed(call.name)
    if pins.accepted(tx, call.account_id, call.server, call.tool, call.definition_digest) is None:
        return (
            f"Tool '{call.name}' is not what was approved: its definition is not accepted any more. Nothing was called."
        )
    return None
