"""Ask, decide, expire, withdraw: an approval is a row, and one conditional UPDATE is the verdict.

A call attaches to its durable row or makes one (`attach`); the yes is worth exactly one sending of exactly that row
(`claim`). The desk knows no socket: whoever waits watches the call's topic and reads the row.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import notices, policy
from control.approvals.directory import Directory
from control.executions import diagnosis, lifecycle, logs, toolcalls
from control.executions.lifecycle import Lifecycle
from control.executions.states import Cause
from control.executions.toolcalls import Call, Status
from control.identity import charter as charters
from control.identity.principals import Principal
from control.tables import approvals, executions, sessions, tool_calls, votes
from kit.clock import rfc3339
from kit.db import Tx
from kit.errors import Conflict, Invalid, Missing, Refused
from kit.ids import new_id

GONE = "The run has ended; nothing is called for it any more."


class Verdict(StrEnum):
    APPROVED = "approved"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decided:
    """What became of an approval. `open` while further people must agree; `repeated` when that was known before."""

    status: str
    by: str
    open: bool = False
    repeated: bool = False


class Desk:
    """The approval desk of one process."""

    def __init__(self, directory: Directory, lifecycle_: Lifecycle) -> None:
        self.directory = directory
        self._lifecycle = lifecycle_

    # asking -------------------------------------------------------------------------------------------------------

    def attach(
        self, tx: Tx, principal: Principal, call: Call, verdict: policy.Verdict, *, context: dict[str, Any]
    ) -> str:
        """The id of this call's durable row: the one that is open, the one whose answer nobody got, or a new one."""
        if not toolcalls.alive(tx, principal):
            known = toolcalls.reattach(tx, principal, call)
            if known is None:
                raise Refused("session_ended", GONE)
            return str(known.id)
        if known := toolcalls.reattach(tx, principal, call):
            events.append(tx, principal.account_id, principal.stream, "tool.reattached", call=known.id)
            return str(known.id)
        kept = json.dumps(context, default=str)
        if isinstance(verdict, policy.Deny):
            error = f"Tool '{call.name}' was refused by a rule: {verdict.rule}. Do not retry with the same arguments."
            return toolcalls.record(tx, principal, call, Status.DENIED, rule=verdict.rule, context=kept, error=error)
        if isinstance(verdict, policy.Allow):
            return toolcalls.record(tx, principal, call, Status.READY, rule=verdict.rule, context=kept)
        return self._ask(tx, principal, call, verdict, kept)

    def _ask(self, tx: Tx, principal: Principal, call: Call, ask: policy.Ask, context: str) -> str:
        members = self.directory.members(ask.gate.group)
        if len(members) < ask.gate.quorum:
            error = f"Tool '{call.name}' needs {ask.gate.quorum} of group '{ask.gate.group}', which has {len(members)}."
            return toolcalls.record(tx, principal, call, Status.DENIED, rule=ask.rule, context=context, error=error)
        call_id = toolcalls.record(tx, principal, call, Status.WAITING, rule=ask.rule, context=context)
        approval_id = new_id("apr")
        now = tx.now()
        expires = now + timedelta(seconds=ask.gate.timeout_s)
        tx.execute(
            sa.insert(approvals).values(
                id=approval_id,
                account_id=principal.account_id,
                session_id=principal.session_id,
                execution_id=principal.execution_id,
                call_id=call_id,
                approver_group=ask.gate.group,
                quorum=ask.gate.quorum,
                rule=ask.rule,
                asked_at=now,
                expires_at=expires,
            )
        )
        names = [member.name for member in members]
        data = {"approval": approval_id, "call": call_id, "tool": call.tool, "asked": names}
        events.append(tx, principal.account_id, principal.stream, "approval.asked", **data, expires=rfc3339(expires))
        if principal.execution_id:
            lifecycle.waiting(tx, principal.execution_id, principal.account_id, opened=True)
        notices.request(tx, principal, approval_id=approval_id, call=call, members=members, expires_at=expires)
        logs.story(
            tx,
            principal.account_id,
            principal.execution_id,
            "info",
            "Status: Waiting for approval (tool is prelooped)",
            f"Approval request sent to: {', '.join(names)}",
            f"Waiting for approval... (timeout: {diagnosis.span(ask.gate.timeout_s)})",
        )
        tx.wake(TOPIC)
        return call_id

    # sending ------------------------------------------------------------------------------------------------------

    def claim(self, tx: Tx, principal: Principal, call_id: str, *, within: timedelta) -> bool:
        """Become the one sender of a call that is ready, and consume its yes."""
        if not toolcalls.claim(tx, principal, call_id, within=within):
            return False
        approved = (approvals.c.call_id == call_id) & (approvals.c.status == "approved")
        tx.execute(sa.update(approvals).where(approved).values(status="consumed"))
        return True

    def settle(self, tx: Tx, call_id: str, *, result: dict[str, Any] | None, is_error: bool, error: str | None) -> bool:
        """Store the upstream's answer; under `on_tool_error: fail` an error asks for the end of the run."""
        settled = toolcalls.settle(tx, call_id, result=result, is_error=is_error, error=error)
        if settled and is_error:
            row = tx.execute(sa.select(tool_calls).where(tool_calls.c.id == call_id)).one()
            if row.execution_id and _charter(tx, row.session_id).on_tool_error == "fail":
                lifecycle.intend(tx, row.account_id, row.execution_id, Cause.TOOL_FAILED, by="tool")
        return settled

    # deciding -----------------------------------------------------------------------------------------------------

    def decide(
        self,
        tx: Tx,
        account_id: str,
        approval_id: str,
        *,
        approver: str,
        verdict: Verdict,
        reason: str,
        digest: str,
        via: str,
    ) -> Decided:
        """One person's yes or no on exactly the arguments they saw. The first decision stands; a second is told so."""
        row = _locked(tx, account_id, approval_id)
        call = tx.execute(sa.select(tool_calls).where(tool_calls.c.id == row.call_id)).one()
        if approver not in {member.id for member in self.directory.members(row.approver_group)}:
            raise Refused("approver_not_asked", f"{approver} is not in group '{row.approver_group}'.")
        if verdict is Verdict.DECLINED and not reason.strip():
            raise Invalid("reason_required", "Say why you decline.", "One sentence is enough; the agent reads it.")
        if row.status != "pending":
            return _again(row, approver, verdict)
        if row.expires_at <= tx.now():
            raise Conflict("approval_expired", "The time to decide is over.", "A new run asks anew.")
        if digest != call.digest:
            raise Conflict("approval_changed", "The page showed other arguments.", "Reload it and look again.")
        self._vote(tx, row, approver, verdict, reason, via)
        yes = sa.select(sa.func.count()).where(
            votes.c.approval_id == approval_id, votes.c.verdict == Verdict.APPROVED.value
        )
        name = self.directory.approvers[approver].name
        if verdict is Verdict.APPROVED and tx.execute(yes).scalar_one() < row.quorum:
            return Decided(status="pending", by=name, open=True)
        if not _close(tx, row, verdict.value, by=approver, reason=reason):
            raise Conflict("approval_decided", "Somebody else was faster.", "Reload the page.")
        if verdict is Verdict.APPROVED:
            self._approved(tx, row, call, name)
        else:
            self._refused(tx, row, call, Status.DECLINED, diagnosis.declined(name, reason))
        return Decided(status=verdict.value, by=name)

    def _vote(self, tx: Tx, row: Row[Any], approver: str, verdict: Verdict, reason: str, via: str) -> None:
        key = {"approval_id": row.id, "approver": approver, "account_id": row.account_id}
        values = key | {"verdict": verdict.value, "reason": reason or None, "by": via[:200], "at": tx.now()}
        vote = tx.insert(votes).values(values).on_conflict_do_nothing()
        if not tx.changed(vote):
            raise Conflict("vote_given", "You have voted already.", "Others must agree too.")
        data = {"approval": row.id, "approver": approver, "verdict": verdict.value, "via": via}
        events.append(tx, row.account_id, row.execution_id or row.session_id, "approval.voted", **data)

    def _approved(self, tx: Tx, row: Row[Any], call: Row[Any], name: str) -> None:
        waiting = (tool_calls.c.id == call.id) & (tool_calls.c.status == Status.WAITING)
        waited = int((tx.now() - row.asked_at).total_seconds() * 1000)
        tx.execute(sa.update(tool_calls).where(waiting).values(status=Status.READY.value, waited_ms=waited))
        if row.execution_id:
            lifecycle.waiting(tx, row.execution_id, row.account_id, opened=False)
        logs.story(tx, row.account_id, row.execution_id, "info", f"Approval received from: {name}")
        tx.wake(toolcalls.topic(call.id))

    def _refused(self, tx: Tx, row: Row[Any], call: Row[Any], status: Status, why: diagnosis.Verdict) -> None:
        """The waiting call gets its error; under `on_decline: fail` the run ends in this very unit."""
        toolcalls.close(tx, call.id, status, f"{why.told} Do not retry with the same arguments.")
        logs.story(tx, row.account_id, row.execution_id, "warning", why.told)
        if row.execution_id is None:
            return
        lifecycle.waiting(tx, row.execution_id, row.account_id, opened=False)
        if _charter(tx, row.session_id).on_decline == "fail":
            self._lifecycle.end(tx, row.execution_id, why.cause, message=why.message, hint=why.hint)

    def expire(self, tx: Tx) -> int:
        """Close what nobody decided in time; returns how many."""
        late = sa.select(approvals).where(approvals.c.status == "pending", approvals.c.expires_at <= tx.now())
        rows = tx.execute(late.limit(50)).all()
        for found in rows:
            row = _locked(tx, found.account_id, found.id)
            if row.status != "pending" or not _close(tx, row, "expired", by=None, reason=None):
                continue
            call = tx.execute(sa.select(tool_calls).where(tool_calls.c.id == row.call_id)).one()
            limit = int((row.expires_at - row.asked_at).total_seconds())
            self._refused(tx, row, call, Status.EXPIRED, diagnosis.expired(call.tool, limit))
        return len(rows)


TOPIC = "approvals"
"""Woken when the list of open approvals changes."""


def withdraw(tx: Tx, ended: Row[Any], cause: Cause | None) -> None:
    """An ending: what was open for this execution is withdrawn, a yes that was not used lapses."""
    mine = approvals.c.execution_id == ended.id
    now = tx.now()
    gone = sa.update(approvals).where(mine, approvals.c.status == "pending")
    for row in tx.execute(gone.values(status="withdrawn", decided_at=now).returning(approvals.c.id)).all():
        events.append(tx, ended.account_id, ended.id, "approval.closed", approval=row.id, status="withdrawn")
    tx.execute(sa.update(approvals).where(mine, approvals.c.status == "approved").values(status="lapsed"))
    open_ = sa.select(tool_calls.c.id).where(
        tool_calls.c.execution_id == ended.id, tool_calls.c.status.in_([Status.READY, Status.WAITING])
    )
    for call_id in tx.execute(open_).scalars().all():
        toolcalls.close(tx, call_id, Status.WITHDRAWN, GONE)
    tx.wake(TOPIC)


def _locked(tx: Tx, account_id: str, approval_id: str) -> Row[Any]:
    """The approval, its execution's row taken first: the order every unit keeps."""
    mine = (approvals.c.id == approval_id) & (approvals.c.account_id == account_id)
    found = tx.one(sa.select(approvals.c.execution_id).where(mine))
    if found is None:
        raise Missing("approval_unknown", f"There is no approval {approval_id}.")
    if found.execution_id:
        held = executions.c.id == found.execution_id
        tx.execute(sa.update(executions).where(held).values(open_approvals=executions.c.open_approvals))
    touched = sa.update(approvals).where(mine).values(quorum=approvals.c.quorum)
    return tx.execute(touched.returning(approvals)).one()


def _close(tx: Tx, row: Row[Any], status: str, *, by: str | None, reason: str | None) -> bool:
    pending = (approvals.c.id == row.id) & (approvals.c.status == "pending")
    values = {"status": status, "decided_at": tx.now(), "decided_by": by, "reason": reason or None}
    if not tx.changed(sa.update(approvals).where(pending).values(values)):
        return False
    data = {"approval": row.id, "status": status, "by": by, "reason": reason}
    events.append(tx, row.account_id, row.execution_id or row.session_id, "approval.closed", **data)
    tx.wake(TOPIC)
    return True


def _again(row: Row[Any], approver: str, verdict: Verdict) -> Decided:
    """The same click twice is fine; a different one learns who decided."""
    effective = "approved" if row.status in ("consumed", "lapsed") else row.status
    if row.decided_by == approver and effective == verdict.value:
        return Decided(status=row.status, by=approver, repeated=True)
    who = f" by {row.decided_by}" if row.decided_by else ""
    raise Conflict("approval_decided", f"This request was {effective}{who} before.", "Your click changed nothing.")


def _charter(tx: Tx, session_id: str) -> charters.Charter:
    return charters.loads(tx.execute(sa.select(sessions.c.charter).where(sessions.c.id == session_id)).scalar_one())
