"""What the rules of a call may look at: the variables of `control/approvals/rules`, read here and passed in as values.

They are stored with the call, so that a changed rule can be replayed over exactly what the first one saw.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from control.executions import toolcalls
from control.identity.charter import ToolGrant
from control.identity.principals import Principal
from control.tables import tool_calls
from kit.db import Database, Tx
from ledger import reports

NANO = 1_000_000_000


async def gather(
    db: Database, principal: Principal, grants: Sequence[ToolGrant], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """`execution` holds spend and calls so far, and is read only when a rule speaks of it."""
    expressions = [text for grant in grants for text in (grant.deny, grant.approval and grant.approval.when) if text]
    counted = await _so_far(db, principal) if any("execution" in text for text in expressions) else {}
    return {
        "args": dict(arguments),
        "flow": principal.charter.flow or "",
        "execution": {"id": principal.execution_id or ""} | counted,
        "principal": {"name": principal.name, "session": principal.session_id},
        "now": datetime.now(UTC),
    }


def exact(tx: Tx, principal: Principal, seen: dict[str, Any]) -> dict[str, Any]:
    """What a rule that counts must be held against in the unit that writes the call's row, so that parallel calls count
    each other: the run's rows are held from here on. The very facts where no rule counts, or nothing was called
    meanwhile. Money is counted elsewhere, after the fact, and stays as it was read."""
    counted = seen["execution"].get("tool_calls")
    if counted is None or not toolcalls.alive(tx, principal):
        return seen
    called = tx.execute(_calls(principal)).scalar_one()
    return seen if called == counted else seen | {"execution": seen["execution"] | {"tool_calls": called}}


def _calls(principal: Principal) -> sa.Select[Any]:
    return sa.select(sa.func.count()).select_from(tool_calls).where(tool_calls.c.session_id == principal.session_id)


async def _so_far(db: Database, principal: Principal) -> dict[str, Any]:
    spend = await reports.of_session(db, principal.account_id, principal.session_id)
    rows = await db.read(_calls(principal))
    return {"spend_usd": spend.cost_nano / NANO, "model_calls": spend.calls, "tool_calls": rows[0][0]}
