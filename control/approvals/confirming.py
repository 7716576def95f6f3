"""What a decision must bring along beside a press of a button: what the page showed, and for what is dear a sign-in and
the words typed by hand. Checked in the unit that decides, before the desk.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy.engine import Row

from control.approvals import requests
from control.executions import toolcalls
from kit import canonical
from kit.db import Tx
from kit.errors import Conflict, Invalid, Refused

AMOUNT = "amount"


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """`definition` and `rule` are digests of what the page showed, None where no page did; `typed` is what was written
    by hand."""

    by_link: bool
    typed: str = ""
    definition: str | None = None
    rule: str | None = None


def phrase(tool: str, args: Mapping[str, Any]) -> tuple[str, str]:
    """What is typed to agree to a call: ("amount", "1500") where it has an amount, else ("tool", its name)."""
    amount = args.get(AMOUNT)
    if isinstance(amount, int | float) and not isinstance(amount, bool):
        return AMOUNT, str(amount)
    return "tool", tool


def says(kind: str, wanted: str, typed: str) -> bool:
    """Was it typed? '1,500.00' is 1500; a tool's name is its name."""
    given = typed.strip()
    if kind == "tool":
        return given == wanted
    try:
        return Decimal(given.replace(",", "").replace(" ", "")) == Decimal(wanted)
    except InvalidOperation:
        return False


def check(
    tx: Tx, account_id: str, approval_id: str, brought: Brought, *, approves: bool, changed: Mapping[str, Any] | None
) -> None:
    """Refuse a decision that does not bring what its request wants. Only one that is open wants anything: of others
    the desk says what became of them."""
    row = requests.locked(tx, account_id, approval_id)
    if row.status != requests.Status.PENDING or row.expires_at <= tx.now():
        return
    call = toolcalls.row(tx, row.call_id)
    _unchanged(row, call, brought)
    if row.sign_in and brought.by_link:
        raise Refused("sign_in_required", "This can't be decided by link.", "Sign in, then decide it under Approvals.")
    if row.confirm == "typed" and approves:
        kind, wanted = phrase(call.tool, changed if changed is not None else canonical.parse(call.args))
        if not says(kind, wanted, brought.typed):
            what = f"the amount, {wanted}" if kind == AMOUNT else f"the tool's name, {wanted}"
            raise Invalid("confirmation_wrong", f"To approve this, type {what}.", "Nothing was decided.")


def rule_digest(rule: str) -> str:
    """A rule as a page carries it back."""
    return canonical.digest(rule)


def _unchanged(row: Row[Any], call: Row[Any], brought: Brought) -> None:
    """The page showed this rule, and this definition of the tool."""
    if brought.rule is not None and brought.rule != rule_digest(row.rule):
        told = f"The page showed another rule. The one that asks is: {row.rule[:200]}"
        raise Conflict("approval_changed", told, "Nothing was decided: look again.")
    now = call.definition_digest or ""
    if brought.definition is not None and brought.definition != now:
        told = f"The page showed another definition of the tool, {brought.definition[:12] or 'none'}, not {now[:12]}."
        raise Conflict("approval_changed", told, "Nothing was decided: look again; /tools has the difference.")
