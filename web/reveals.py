"""A masked argument shown once to somebody who has to decide: by a press, and never without a line in the record."""

from control import events
from control.approvals import requests
from control.approvals.directory import Approver
from kit.db import Tx
from kit.errors import Conflict, Invalid, Refused
from web import approval_shapes, arguments
from web.asked import people
from web.parts import Parts


async def reveal(
    given: Parts, account_id: str, asked: approval_shapes.ApprovalDetail, number: str, *, me: Approver | None, via: str
) -> int:
    """Write down who looks at which argument; then its number, for the page that shows it. Only who may decide an open
    request, in the way they came, may look."""
    if me is None or me not in people(given.desk.directory, asked):
        raise Refused("approver_not_asked", "You are not among those who were asked.", "Somebody of them can look.")
    if asked.status != requests.Status.PENDING:
        raise Conflict("approval_decided", "This request is decided; its secrets stay masked.")
    leaf = next((leaf for leaf in arguments.leaves(asked.whole_arguments) if str(leaf.number) == number), None)
    if leaf is None:
        raise Invalid("form_invalid", "There is no such argument.", "Reload the page.")
    found = leaf

    def unit(tx: Tx) -> None:
        told = {
            "approval": asked.id,
            "call": asked.call_id,
            "path": arguments.spelt(found.path),
            "by": me.id,
            "via": via,
        }
        events.append(tx, account_id, asked.execution_id or asked.session_id, "argument.revealed", **told)

    await given.db.write(unit)
    return found.number
