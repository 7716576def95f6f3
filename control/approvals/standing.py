"""Standing yeses: these calls of this session need nobody, until the yes is used up, over or revoked.

One is given after a yes, by somebody who was asked, and never where several people must agree. Each use is one
conditional UPDATE, so a yes for three calls is worth three calls however many come at once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import requests, rules
from control.approvals.directory import Approver, Directory
from control.approvals.policy import Ask
from control.executions import toolcalls
from control.executions.toolcalls import Call
from control.identity.principals import Principal
from control.tables import approvals, grants, sessions, tool_calls
from kit.clock import rfc3339
from kit.db import Tx
from kit.errors import Conflict, Invalid, Missing, Refused
from kit.ids import new_id

MOST_USES = 100
LONGEST = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a standing yes covers: the exact arguments, or those that a CEL condition accepts, or every call."""

    exact: bool = True
    condition: str | None = None
    uses: int = 1
    lasts: timedelta = timedelta(hours=1)

    def check(self) -> None:
        """Refuse what would be no bound."""
        if not 1 <= self.uses <= MOST_USES:
            raise Invalid("grant_invalid", f"A standing yes is for 1 to {MOST_USES} calls.", "Ask again after that.")
        if not timedelta(minutes=1) <= self.lasts <= LONGEST:
            raise Invalid("grant_invalid", "A standing yes lasts from a minute to a day.", "Give a new one tomorrow.")
        if self.condition is not None:
            rules.check(self.condition)


def give(
    tx: Tx, account_id: str, approval_id: str, *, approver: str, scope: Scope, directory: Directory, via: str
) -> str:
    """A standing yes that follows an approval; returns its id."""
    scope.check()
    row = requests.locked(tx, account_id, approval_id)
    _may_give(row, approver, directory)
    call = toolcalls.row(tx, row.call_id)
    if scope.exact and call.approved_args:
        raise Refused(
            "grant_changed", "The arguments were changed, so this very call is not the one.", "Give it for every call."
        )
    living = (sessions.c.id == row.session_id) & sessions.c.revoked_at.is_(None)
    if tx.one(sa.select(sessions.c.id).where(living)) is None:
        raise Conflict("session_ended", "The run has ended; nothing is called for it any more.", "Start another one.")
    now = tx.now()
    values = {
        "id": new_id("grt"),
        "account_id": account_id,
        "session_id": row.session_id,
        "approval_id": approval_id,
        "server": call.server,
        "tool": call.tool,
        "condition": scope.condition,
        "digest": call.digest if scope.exact else None,
        "uses_left": scope.uses,
        "created_by": approver,
        "created_at": now,
        "expires_at": now + scope.lasts,
    }
    tx.execute(sa.insert(grants).values(values))
    told = {name: values[name] for name in ("server", "tool", "condition", "digest", "approval_id")}
    told |= {"grant": values["id"], "by": approver, "via": via, "uses": scope.uses}
    events.append(tx, account_id, events.stream_of(row), "grant.given", **told, expires=rfc3339(now + scope.lasts))
    tx.wake(requests.TOPIC)
    return str(values["id"])


def _may_give(row: Row[Any], approver: str, directory: Directory) -> None:
    if approver not in {member.id for member in requests.asked(directory, row)}:
        raise Refused("approver_not_asked", f"{approver} was not asked.", "Somebody of the group can give it.")
    if row.status not in (requests.Status.APPROVED, requests.Status.CONSUMED):
        raise Conflict("grant_without_yes", "A standing yes follows an approval.", "Approve the request first.")
    if row.confirm == "typed" or row.sign_in:
        raise Refused("grant_each_time", "This is confirmed each time.", "Approve this call alone.")
    alone = _alone(row.quorum, row.four_eyes, directory.approvers[approver], row.requester)
    if not (alone and requests.one_decides(row)):
        raise Refused("grant_needs_others", "This tool needs several people each time.", "One can't waive the others.")
    if approver not in _own(directory, row.approver_group):
        raise Refused(
            "grant_stands_in", "You stand in for this one request only.", "Approve this call alone, or ask its group."
        )


def _own(directory: Directory, group: str) -> set[str]:
    """The ids of a group itself. Whoever is asked when it does not answer speaks for that request, not for later
    ones."""
    return {member.id for member in directory.members(group)}


def _alone(quorum: int, four_eyes: bool, approver: Approver, requester: str | None) -> bool:
    """May this person say yes by themselves?"""
    return quorum == 1 and not (four_eyes and requests.is_requester(approver, requester))


def use(
    tx: Tx,
    principal: Principal,
    call: Call,
    ask: Ask,
    facts: dict[str, Any],
    directory: Directory,
    *,
    since: datetime | None,
) -> Row[Any] | None:
    """Spend one use of a standing yes that covers this call and whose giver could answer this very question. `since` is
    when a person declined exactly this: only a later word counts."""
    now = tx.now()
    mine = (grants.c.session_id == principal.session_id) & (grants.c.server == call.server)
    mine &= (grants.c.tool == call.tool) & (grants.c.digest.is_(None) | (grants.c.digest == call.digest))
    alive = grants.c.revoked_at.is_(None) & (grants.c.expires_at > now) & (grants.c.uses_left > 0)
    if since is not None:
        alive &= grants.c.created_at > since
    asked = sa.select(grants, tool_calls.c.definition_digest, approvals.c.four_eyes)
    asked = asked.join(approvals, approvals.c.id == grants.c.approval_id)
    asked = asked.join(tool_calls, tool_calls.c.id == approvals.c.call_id)
    for row in tx.execute(asked.where(mine, alive).order_by(grants.c.expires_at)).all():
        if row.definition_digest != call.definition_digest:  # a tool that changed is not the tool of the yes
            continue
        if not (_covers(row, facts) and _answers(tx, principal, row, ask, directory)):
            continue
        spent = sa.update(grants).where(grants.c.id == row.id, alive).values(uses_left=grants.c.uses_left - 1)
        if tx.changed(spent):
            data = {"grant": row.id, "by": row.created_by, "tool": call.tool, "digest": call.digest}
            events.append(tx, principal.account_id, principal.stream, "grant.used", **data)
            return row
    return None


def _covers(row: Row[Any], facts: dict[str, Any]) -> bool:
    """A condition that errs covers nothing."""
    try:
        return row.condition is None or rules.evaluate(row.condition, facts)
    except rules.RuleError:
        return False


def _answers(tx: Tx, principal: Principal, row: Row[Any], ask: Ask, directory: Directory) -> bool:
    """Another gate may fire for this call than for the one the yes came from: its giver must pass it alone as a member
    of its own group, and it must want no more of a decision than that one did."""
    gate = ask.gate
    if ask.also or row.created_by not in _own(directory, gate.group):
        return False
    if gate.confirm == "typed" or gate.sign_in or (gate.four_eyes and not row.four_eyes):
        return False
    giver = directory.approvers[row.created_by]
    return _alone(gate.quorum, gate.four_eyes, giver, requests.requester(tx, principal))


def taken_back(tx: Tx, principal: Principal, call_id: str) -> bool:
    """Was the standing yes revoked that let this call pass? The run's rows and the yes are held from here on."""
    its = sa.select(tool_calls.c.grant_id).where(tool_calls.c.id == call_id)
    given = tx.execute(its).scalar()
    if given is None or not toolcalls.alive(tx, principal):
        return False
    held = sa.update(grants).where(grants.c.id == given).values(uses_left=grants.c.uses_left)
    return tx.execute(held.returning(grants.c.revoked_at)).scalar() is not None


def revoke(tx: Tx, account_id: str, grant_id: str, *, by: str) -> None:
    """Take a standing yes back; what it let pass before stays. Again is fine."""
    mine = (grants.c.id == grant_id) & (grants.c.account_id == account_id)
    row = tx.one(sa.select(grants).where(mine))
    if row is None:
        raise Missing("grant_unknown", f"There is no standing yes {grant_id}.", "GET /api/v1/grants lists them.")
    if tx.changed(sa.update(grants).where(mine, grants.c.revoked_at.is_(None)).values(revoked_at=tx.now())):
        execution = tx.execute(sa.select(sessions.c.execution_id).where(sessions.c.id == row.session_id)).scalar()
        events.append(tx, account_id, execution or row.session_id, "grant.revoked", grant=grant_id, by=by)
        tx.wake(requests.TOPIC)
