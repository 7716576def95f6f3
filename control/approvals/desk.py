"""Ask, decide, use: an approval is a row, and one conditional UPDATE is the verdict.

A call attaches to its durable row or makes one (`attach`); the yes is worth exactly one sending of exactly that row
(`claim`). The desk knows no socket: whoever waits watches the call's topic and reads the row. The row itself is in
`requests`, standing yeses in `standing`, changed arguments in `changes`, what the clock and an end do in `endings`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import changes, endings, ladder, notices, policy, recheck, requests, standing, telling
from control.approvals.changes import Complain
from control.approvals.directory import Directory
from control.approvals.notices import Failure
from control.approvals.standing import Scope
from control.executions import diagnosis, lifecycle, logs, toolcalls
from control.executions.lifecycle import Lifecycle
from control.executions.states import Cause
from control.executions.toolcalls import Call, Status
from control.executions.verdict import Verdict as Judged
from control.executions.verdict import span
from control.identity.principals import Principal
from control.tables import approvals, tool_calls, votes
from kit.clock import rfc3339
from kit.db import Tx
from kit.errors import Conflict, Invalid, Refused
from kit.metrics import Counter

GONE = endings.GONE
TOPIC = requests.TOPIC
withdraw = endings.withdraw


REATTACHED = Counter("preloop_calls_reattached_total", "Calls that were made again and found their row.")


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

    def __init__(self, directory: Directory, lifecycle_: Lifecycle, complain: Complain = changes.nobody_knows) -> None:
        self.directory = directory
        self._complain = complain
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
            tx.at_last(REATTACHED.add)
            return str(known.id)
        kept = json.dumps(context, default=str)
        if isinstance(verdict, policy.Deny):
            error = f"Tool '{call.name}' was refused by a rule: {verdict.rule}. Do not retry with the same arguments."
            return toolcalls.record(tx, principal, call, Status.DENIED, rule=verdict.rule, context=kept, error=error)
        if isinstance(verdict, policy.Allow):
            return toolcalls.record(tx, principal, call, Status.READY, rule=verdict.rule, context=kept)
        return self._from_the_record(tx, principal, call, verdict, context, kept) or self._ask(
            tx, principal, call, verdict, kept
        )

    def _from_the_record(
        self, tx: Tx, principal: Principal, call: Call, ask: policy.Ask, context: dict[str, Any], kept: str
    ) -> str | None:
        """The call's row where nobody has to be asked again, or can be; else None."""
        no = requests.declined(tx, principal, call)
        since = no.decided_at if no else None
        if grant := standing.use(tx, principal, call, ask, context, self.directory, since=since):
            rule = f"standing yes of {grant.created_by} ({grant.id})"
            return toolcalls.record(tx, principal, call, Status.READY, rule=rule, context=kept, grant_id=grant.id)
        if no:
            rule = "a person declined exactly this before"
            return toolcalls.record(tx, principal, call, Status.DECLINED, rule=rule, context=kept, error=no.error)
        if why := requests.too_big(call) or requests.too_many(tx, principal):
            error = f"Tool '{call.name}' was not called and nobody was asked: {why}."
            return toolcalls.record(tx, principal, call, Status.DENIED, rule=ask.rule, context=kept, error=error)
        if nobody := endings.nobody(tx, principal, ask, self.directory):
            error = f"Tool '{call.name}' was not called: {nobody}"
            row = toolcalls.record(tx, principal, call, Status.DENIED, rule=ask.rule, context=kept, error=error)
            endings.unreachable(tx, self._lifecycle, principal.account_id, principal.execution_id, call.name, nobody)
            return row
        return None

    def _ask(self, tx: Tx, principal: Principal, call: Call, ask: policy.Ask, context: str) -> str:
        call_id = toolcalls.record(tx, principal, call, Status.WAITING, rule=ask.rule, context=context)
        gates = (ask.gate, *ask.also)
        members = tuple(dict.fromkeys(member for gate in gates for member in self.directory.members(gate.group)))
        names = [member.name for member in members]
        row = requests.open_(tx, principal, call_id, ask, call=call, asked=names)
        if principal.execution_id:
            lifecycle.waiting(tx, principal.execution_id, principal.account_id, opened=True)
        notices.queue(tx, row, toolcalls.row(tx, call_id), members, topic=notices.REQUESTED)
        logs.story(
            tx,
            principal.account_id,
            principal.execution_id,
            "info",
            "Status: Waiting for approval (tool is prelooped)",
            f"Waiting for approval... (timeout: {span(ask.gate.timeout_s)})",
        )
        return call_id

    # sending ------------------------------------------------------------------------------------------------------

    def claim(self, tx: Tx, principal: Principal, call_id: str, *, within: timedelta) -> bool:
        """Become the one sender of a call that is ready, and consume its yes, if it still is worth anything."""
        if not recheck.holds(tx, principal, call_id) or not toolcalls.claim(tx, principal, call_id, within=within):
            return False
        recheck.consume(tx, call_id)
        return True

    def settle(self, tx: Tx, call_id: str, *, result: dict[str, Any] | None, is_error: bool, error: str | None) -> int:
        """Store the upstream's answer; under `on_tool_error: fail` an error asks for the end of the run."""
        seq = toolcalls.settle(tx, call_id, result=result, is_error=is_error, error=error)
        if seq and is_error:
            row = toolcalls.row(tx, call_id)
            if row.execution_id and requests.charter(tx, row.session_id).on_tool_error == "fail":
                lifecycle.intend(tx, row.account_id, row.execution_id, Cause.TOOL_FAILED, by="tool")
        return seq

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
        changed: Mapping[str, Any] | None = None,
        grant: Scope | None = None,
    ) -> Decided:
        """One person's yes or no on exactly the arguments they saw. The first decision stands; a second is told so.
        With `changed` it is these arguments that go upstream; with `grant` the yes also stands for later calls."""
        row = requests.locked(tx, account_id, approval_id)
        call = toolcalls.row(tx, row.call_id)
        self._may_decide(row, approver, verdict, reason)
        if row.status != requests.Status.PENDING:
            return _again(row, approver, verdict)
        _still(tx, row, call, digest)
        name = self.directory.approvers[approver].name
        amended, people = None, self.directory
        if changed is not None:
            amended = changes.amend(tx, row, call, changed, self._complain, approver=approver, directory=people)
        self._vote(tx, row, approver, verdict, reason, via)
        if verdict is Verdict.APPROVED and not self._agreed(tx, row):
            if amended or grant:
                raise Refused("others_must_agree", "Others must agree to the same arguments.", "Approve or decline it.")
            return Decided(status=requests.Status.PENDING.value, by=name, open=True)
        if not requests.close(tx, row, requests.Status(verdict.value), by=approver, reason=reason):
            raise Conflict("approval_decided", "Somebody else was faster.", "Reload the page.")
        if verdict is Verdict.DECLINED:
            self._refused(tx, row, call, Status.DECLINED, diagnosis.declined(call.name, name, reason))
            return Decided(status=verdict.value, by=name)
        self._approved(tx, row, call, name, amended)
        if grant:
            standing.give(tx, account_id, approval_id, approver=approver, scope=grant, directory=people, via=via)
        return Decided(status=verdict.value, by=name)

    def _may_decide(self, row: Row[Any], approver: str, verdict: Verdict, reason: str) -> None:
        if approver not in {member.id for member in requests.asked(self.directory, row)}:
            raise Refused(
                "approver_not_asked", f"{approver} is not in group '{row.approver_group}'.", "Somebody of it can."
            )
        if verdict is Verdict.DECLINED and not reason.strip():
            raise Invalid("reason_required", "Say why you decline.", "One sentence is enough; the agent reads it.")

    def _agreed(self, tx: Tx, row: Row[Any]) -> bool:
        yes = (votes.c.approval_id == row.id) & (votes.c.verdict == Verdict.APPROVED.value)
        ids = tx.execute(sa.select(votes.c.approver).where(yes)).scalars().all()
        return not requests.lacking(self.directory, row, ids)

    def _vote(self, tx: Tx, row: Row[Any], approver: str, verdict: Verdict, reason: str, via: str) -> None:
        key = {"approval_id": row.id, "approver": approver, "account_id": row.account_id}
        now = tx.now()
        values = key | {"verdict": verdict.value, "reason": reason or None, "by": via[:200], "at": now}
        vote = tx.insert(votes).values(values).on_conflict_do_nothing()
        if not tx.changed(vote):
            raise Conflict("vote_given", "You have voted already.", "Others must agree too.")
        data = {"approval": row.id, "approver": approver, "verdict": verdict.value, "via": via, "at": rfc3339(now)}
        data["reason_digest"] = hashlib.sha256(reason.encode()).hexdigest() if reason else None
        events.append(tx, row.account_id, events.stream_of(row), "approval.voted", **data)

    def _approved(self, tx: Tx, row: Row[Any], call: Row[Any], name: str, amended: str | None) -> None:
        waiting = (tool_calls.c.id == call.id) & (tool_calls.c.status == Status.WAITING)
        waited = int((tx.now() - row.asked_at).total_seconds() * 1000)
        ready = {"status": Status.READY.value, "waited_ms": waited, "approved_args": amended}
        tx.execute(sa.update(tool_calls).where(waiting).values(ready))
        if row.execution_id:
            lifecycle.waiting(tx, row.execution_id, row.account_id, opened=False)
        told = [f"Approval received from: {name}"]
        if amended:
            changes.note(tx, row, call, amended)
            told.append(f"Arguments changed by {name}: {changes.told(amended)}")
        logs.story(tx, row.account_id, row.execution_id, "info", *told)
        tx.wake(toolcalls.topic(call.id))

    def _refused(self, tx: Tx, row: Row[Any], call: Row[Any], status: Status, why: Judged) -> None:
        """The waiting call gets its error; under `on_decline: fail` the run ends in this very unit."""
        toolcalls.close(tx, call.id, status, f"{why.told}. Do not retry with the same arguments.")
        logs.story(tx, row.account_id, row.execution_id, "warning", why.told)
        logs.story(tx, row.account_id, row.execution_id, "info", f"Fix: {why.fix}")
        if row.execution_id is None:
            return
        lifecycle.waiting(tx, row.execution_id, row.account_id, opened=False)
        if requests.charter(tx, row.session_id).on_decline == "fail":
            self._lifecycle.judge(tx, row.execution_id, why)

    # by the clock -------------------------------------------------------------------------------------------------

    def expire(self, tx: Tx) -> int:
        """Close what nobody decided in time, and what was approved and not used in time; returns how many."""
        late = sa.select(approvals).where(
            approvals.c.status == requests.Status.PENDING, approvals.c.expires_at <= tx.now()
        )
        rows = tx.execute(late.limit(50)).all()
        for found in rows:
            row = requests.locked(tx, found.account_id, found.id)
            if row.status != requests.Status.PENDING:
                continue
            if telling.in_vain(tx, row, self.directory):
                endings.unheard(tx, self._lifecycle, row)
                continue
            if not requests.close(tx, row, requests.Status.EXPIRED, by=None, reason=None):
                continue
            limit = int((row.expires_at - row.asked_at).total_seconds())
            call = toolcalls.row(tx, row.call_id)
            self._refused(tx, row, call, Status.EXPIRED, diagnosis.expired(call.name, limit))
        return len(rows) + endings.lapse(tx)

    def climb(self, tx: Tx) -> int:
        """Remind whom nobody heard of at half the time, ask the next group at three quarters; returns how many."""
        return ladder.climb(tx, self.directory)

    def noted(self, tx: Tx, sent: Row[Any], failure: Failure | None) -> None:
        """How one attempt of a notice went."""
        telling.noted(tx, sent, failure, self.directory, self._lifecycle)


def _still(tx: Tx, row: Row[Any], call: Row[Any], digest: str) -> None:
    """The time is not over, and what the page showed is what waits."""
    if row.expires_at <= tx.now():
        raise Conflict("approval_expired", "The time to decide is over.", "A new run asks anew.")
    if digest != call.digest:
        raise Conflict("approval_changed", "The page showed other arguments.", "Reload it and look again.")


def _again(row: Row[Any], approver: str, verdict: Verdict) -> Decided:
    """The same click twice is fine; a different one learns who decided."""
    effective = (
        requests.Status.APPROVED if row.status in (requests.Status.CONSUMED, requests.Status.LAPSED) else row.status
    )
    if row.decided_by == approver and effective == verdict.value:
        return Decided(status=row.status, by=approver, repeated=True)
    who = f" by {row.decided_by}" if row.decided_by else ""
    raise Conflict("approval_decided", f"This request was {effective}{who} before.", "Your click changed nothing.")
