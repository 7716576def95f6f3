"""Automatic retries: what a flow's `retries` say is made anew in the transaction that ends a run, to start later.

A retry is an execution of its own. It names the one before it (`retry_of`), spends what is left of the first one's
budget (`budget_of`) and waits in the queue until its time. The version that ran decides whether there is one; what
runs then is the newest, as for a rerun. Nothing is repeated that may have changed the world, and nothing that a person
cancelled.
"""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import intake, logs
from control.executions.lifecycle import Ending
from control.executions.states import Cause
from control.flows import catalog
from control.flows.flow import Retries
from control.tables import definitions, executions, tool_calls
from kit import canonical
from kit.db import Tx
from kit.errors import Fault

FIRST_S = 10.0
MOST_S = 600.0
SPREAD = 0.2
"""A wait is longer or shorter by up to this part of it, so that what failed together does not come back together."""


def retrying(chance: Callable[[], float] = random.random) -> Ending:
    """An ending: the next attempt, if the flow wants one. `chance` is from 0 to 1 and decides the spread."""

    def retry(tx: Tx, ended: Row[Any], cause: Cause | None) -> None:
        if cause is None or Cause.CANCELLED in (cause, ended.stop_intent):
            return
        wanted = catalog.version(tx, ended.flow_id, ended.flow_version).retries
        if wanted.attempts == 0 or cause not in wanted.on:
            return
        if ended.attempt >= wanted.attempts:
            _used_up(tx, ended)
        elif (tool := None if wanted.after_tools else _wrote(tx, ended)) is not None:
            why = f"tool '{tool}' was called, and it may have changed something (retries.after_tools is false)"
            _not_retried(tx, ended, why)
        else:
            _again(tx, ended, wanted, chance())

    return retry


def wait_s(attempt: int, chance: float) -> float:
    """Seconds until the attempt after this one, which counts from 0: 10, 20, 40 …, at most ten minutes."""
    planned: float = FIRST_S * 2 ** min(attempt, 10) * (1 + SPREAD * (2 * chance - 1))
    return min(MOST_S, planned)


def _again(tx: Tx, ended: Row[Any], wanted: Retries, chance: float) -> None:
    wait = round(wait_s(ended.attempt, chance))
    try:
        made = intake.retry(tx, ended, not_before=ended.ended_at + timedelta(seconds=wait))
    except Fault as fault:  # the flow's newest version can't take its event any more
        _not_retried(tx, ended, fault.message.rstrip("."))
        return
    tx.execute(sa.update(executions).where(executions.c.id == ended.id).values(retried_by=made))
    number, of = ended.attempt + 2, wanted.attempts + 1
    data = {"execution": made, "attempt": number, "of": of, "wait_ms": wait * 1000}
    events.append(tx, ended.account_id, ended.id, "retry.planned", **data)
    logs.story(tx, ended.account_id, ended.id, "info", f"Retrying in {wait} s (attempt {number} of {of})")


def _used_up(tx: Tx, ended: Row[Any]) -> None:
    """The last attempt keeps what went wrong; its message says which attempt it was."""
    number = ended.attempt + 1
    message = f"{ended.message or ''}\nThis was attempt {number} of {number}.".strip()
    tx.execute(sa.update(executions).where(executions.c.id == ended.id).values(message=message))
    events.append(tx, ended.account_id, ended.id, "retry.exhausted", attempts=number)
    logs.story(tx, ended.account_id, ended.id, "error", f"No retry is left: this was attempt {number} of {number}.")


def _not_retried(tx: Tx, ended: Row[Any], why: str) -> None:
    events.append(tx, ended.account_id, ended.id, "retry.refused", reason=why)
    logs.story(tx, ended.account_id, ended.id, "warning", f"Not retried: {why}.")


def _wrote(tx: Tx, ended: Row[Any]) -> str | None:
    """A tool that was sent and isn't known to read only, by the definition that it was called by."""
    its = (definitions.c.account_id == tool_calls.c.account_id) & (definitions.c.server == tool_calls.c.server)
    its &= (definitions.c.tool == tool_calls.c.tool) & (definitions.c.digest == tool_calls.c.definition_digest)
    sent = (tool_calls.c.execution_id == ended.id) & tool_calls.c.sent_at.is_not(None)
    asked = sa.select(tool_calls.c.tool, definitions.c.raw).distinct().outerjoin(definitions, its).where(sent)
    for row in tx.execute(asked.order_by(tool_calls.c.tool)).all():
        if row.raw is None or not _only_reads(canonical.parse(row.raw)):
            return str(row.tool)
    return None


def _only_reads(definition: Any) -> bool:  # noqa: ANN401 - a JSON value
    """MCP's `annotations.readOnlyHint`, true and nothing like it."""
    annotations = definition.get("annotations")
    return isinstance(annotations, dict) and annotations.get("readOnlyHint") is True
