"""Approve with changed arguments: checked as the call itself was, kept beside what was asked for, told to everybody."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.engine import Row

from control import events
from control.approvals import pins, policy, requests, rules
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


def amend(tx: Tx, row: Row[Any], call: Row[Any], changed: Mapping[str, Any], complain: Complain) -> str | None:
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
    _allowed(tx, row, call, dict(changed))
    return text


def _allowed(tx: Tx, row: Row[Any], call: Row[Any], changed: dict[str, Any]) -> None:
    """The rules speak about the changed arguments too: no denial, and nobody else whom they would have asked."""
    tools = policy.matching(requests.charter(tx, row.session_id).tools, call.server, call.tool)
    verdict = policy.decide(tools, facts(call) | {"args": changed}, rules.evaluate)
    if isinstance(verdict, policy.Deny):
        raise Refused("changed_denied", f"A rule refuses these arguments: {verdict.rule}.", "Nothing was decided.")
    if isinstance(verdict, policy.Ask):
        group = verdict.gate.group
        if verdict.also or group not in (row.approver_group, row.escalate_to) or _stricter(verdict.gate, row):
            raise Refused("changed_needs_others", f"For these arguments group '{group}' must be asked.", "Decline it.")


def _stricter(gate: Gate, row: Row[Any]) -> bool:
    """Does this gate want anything of a decision that the request does not?"""
    return bool(
        gate.quorum > row.quorum
        or (gate.four_eyes and not row.four_eyes)
        or (gate.sign_in and not row.sign_in)
        or (gate.confirm == "typed" and row.confirm == "press")
    )


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
