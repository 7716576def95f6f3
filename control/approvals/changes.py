"""Approve with changed arguments: checked as the call itself was, kept beside what was asked for, told to everybody."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Row

from control import events
from control.approvals import pins, policy, requests, rules
from control.approvals.directory import Directory
from control.identity.charter import Gate
from kit import canonical, masking
from kit.db import Tx
from kit.errors import Invalid, Refused

Complain = Callable[[str, Mapping[str, Any]], str]
"""(a tool's definition as raw JSON, arguments) → what is wrong with them by its schema; empty when they fit."""
TOLD = 2000


GONE = "the definition it was called by is not accepted any more."


def nobody_knows(raw: str, arguments: Mapping[str, Any]) -> str:
    """For a desk that was given nobody who reads schemas: nothing is changed there."""
    return "nobody here can check arguments."


def amend(
    tx: Tx,
    row: Row[Any],
    call: Row[Any],
    changed: Mapping[str, Any],
    complain: Complain,
    *,
    approver: str,
    directory: Directory,
) -> str | None:
    """The canonical text of arguments that may go upstream instead; None when nothing was changed."""
    canonical.check(dict(changed))
    text = canonical.dumps(dict(changed))
    if text == call.args:
        return None
    if not requests.one_decides(row):
        raise Refused("others_must_agree", "Several people must agree to the same arguments.", "Decline and say why.")
    if len(text.encode()) > requests.MOST_BYTES:
        raise Invalid(
            "arguments_too_large", f"The arguments are larger than {requests.MOST_BYTES // 1024} KB.", "Shorten them."
        )
    raw = pins.accepted(tx, call.account_id, call.server, call.tool, call.definition_digest)
    if wrong := complain(raw, changed) if raw else GONE:
        raise Invalid("invalid_arguments", f"The tool does not take that: {wrong}", "Nothing was decided.")
    for gate in _gates(tx, row, call, dict(changed)):
        if gate.group not in requests.groups(row) or approver not in _voices(directory, row, gate):
            raise Refused(
                "changed_needs_others", f"For these arguments group '{gate.group}' must be asked.", "Decline it."
            )
        if more := _stricter(gate, row, tx.now()):
            raise Refused("changed_needs_others", f"For these arguments its rule wants {more}.", "Decline it.")
    return text


def _gates(tx: Tx, row: Row[Any], call: Row[Any], changed: dict[str, Any]) -> tuple[Gate, ...]:
    """Whom the rules would have asked about the changed arguments; Refused where they deny them."""
    tools = policy.matching(requests.charter(tx, row.session_id).tools, call.server, call.tool)
    verdict = policy.decide(tools, facts(call) | {"args": changed}, rules.evaluate)
    if isinstance(verdict, policy.Deny):
        raise Refused("changed_denied", f"A rule refuses these arguments: {verdict.rule}.", "Nothing was decided.")
    return (verdict.gate, *verdict.also) if isinstance(verdict, policy.Ask) else ()


def _voices(directory: Directory, row: Row[Any], gate: Gate) -> set[str]:
    """Whose yes this gate would take of those who really were asked: its group's, and the next one's where this request
    went on to the one that the gate names."""
    further = gate.escalate if gate.escalate in requests.groups(row)[1:] else None
    return {member.id for member in directory.asked(gate.group, further)}


def _stricter(gate: Gate, row: Row[Any], now: datetime) -> str | None:
    """What this gate wants of a decision and the request does not, or what it is too late for."""
    if gate.quorum > row.quorum:
        return f"{gate.quorum} people"
    if gate.four_eyes and not row.four_eyes:
        return "four eyes"
    if gate.sign_in and not row.sign_in:
        return "a sign-in"
    if gate.confirm == "typed" and row.confirm == "press":
        return "a typed confirmation"
    return "an answer sooner" if now >= row.asked_at + timedelta(seconds=gate.timeout_s) else None


def facts(call: Row[Any]) -> dict[str, Any]:
    """What the rules saw when the call was asked for, as they saw it."""
    kept: dict[str, Any] = json.loads(call.context or "{}")
    now = kept.get("now")
    return kept | {"now": datetime.fromisoformat(now) if isinstance(now, str) else call.asked_at}


def note(tx: Tx, row: Row[Any], call: Row[Any], amended: str) -> None:
    """The record keeps by digest what was asked for and what was approved."""
    digests = {"asked": call.digest, "approved": canonical.digest(json.loads(amended))}
    events.append(
        tx, row.account_id, events.stream_of(row), "approval.changed", approval=row.id, call=call.id, **digests
    )


def told(amended: str) -> str:
    """For the log: secrets masked, and no longer than a line of it may be."""
    text = canonical.dumps(masking.masked(json.loads(amended)))
    return text if len(text) <= TOLD else text[:TOLD] + "…"
