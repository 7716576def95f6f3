"""An event in, an execution out. A delivery that comes again while its execution lives makes no second one."""

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from control import events
from control.executions.lifecycle import LISTED, WORK
from control.executions.states import FINAL, Stored
from control.flows import catalog, template
from control.flows.flow import Flow
from control.tables import deliveries, executions
from kit import canonical
from kit.db import Tx
from kit.errors import Invalid, Missing
from kit.ids import new_id

REMEMBERED = timedelta(minutes=10)
"""How long after its execution's end a delivery id is still known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """The execution an event made, or the one it had made before."""

    execution_id: str
    repeated: bool = False


def start(
    tx: Tx,
    account_id: str,
    flow_name: str,
    payload: Any,  # noqa: ANN401 - a JSON value
    *,
    trigger: str,
    by: str,
    delivery_id: str | None = None,
    source_url: str | None = None,
    reruns: str | None = None,
) -> Started:
    """Make a PENDING execution of the flow's newest version for an event."""
    row, flow = catalog.find(tx, account_id, flow_name)
    if trigger == "webhook" and not flow.starts_by("webhook"):
        raise Invalid(
            "trigger_missing", f"The flow {flow_name!r} has no webhook trigger.", "Add {type: webhook} to its triggers."
        )
    execution_id = new_id("exe")
    if delivery_id is not None:
        before = _deliver(tx, account_id, row.id, delivery_id, execution_id)
        if before is not None:
            return Started(execution_id=before, repeated=True)
    event = {"type": trigger, "payload": payload}
    prompt = _prompt(flow, event)
    values = {"id": execution_id, "account_id": account_id, "flow_id": row.id, "flow_name": flow.name}
    values |= {"flow_version": row.version, "state": Stored.PENDING.value, "trigger_type": trigger}
    values |= {"trigger_event": canonical.dumps(event), "source_url": source_url, "reruns": reruns}
    limits = {"concurrency": flow.limits.concurrency, "timeout_s": flow.limits.timeout, "wall_s": flow.limits.wall}
    tx.execute(sa.insert(executions).values(values | limits | prompt | {"created_at": tx.now()}))
    data = {"flow": flow.name, "version": row.version, "trigger": trigger, "by": by}
    events.append(tx, account_id, execution_id, "execution.created", **data)
    tx.wake(WORK)
    return Started(execution_id=execution_id)


def _prompt(flow: Flow, event: dict[str, Any]) -> dict[str, str]:
    """The rendered prompt and what stayed unresolved in it, as the row keeps them."""
    rendered = template.render(flow.prompt, {"trigger_event": event})
    if rendered.unresolved and flow.on_undefined == "fail":
        named = ", ".join(found.name for found in rendered.unresolved)
        raise Invalid("prompt_undefined", f"The event has no {named}.", _near(rendered.unresolved))
    unresolved = [{"name": found.name, "near": found.near} for found in rendered.unresolved]
    return {"prompt": rendered.text, "unresolved": json.dumps(unresolved)}


def rerun(tx: Tx, account_id: str, execution_id: str, *, by: str) -> Started:
    """A new execution from the event of an old one; the old one stays as it is."""
    mine = (executions.c.id == execution_id) & (executions.c.account_id == account_id)
    row = tx.one(sa.select(executions).where(mine))
    if row is None:
        raise Missing("execution_unknown", f"There is no execution {execution_id}.", LISTED)
    payload = json.loads(row.trigger_event)["payload"]
    return start(tx, account_id, row.flow_name, payload, trigger="manual", by=by, reruns=execution_id)


def _deliver(tx: Tx, account_id: str, flow_id: str, delivery_id: str, execution_id: str) -> str | None:
    """Keep a delivery for this execution; the id of the one it made before, if that still counts."""
    key = {"account_id": account_id, "flow_id": flow_id, "delivery_id": delivery_id}
    now = tx.now()
    fresh = tx.insert(deliveries).values(key | {"execution_id": execution_id, "created_at": now})
    if tx.changed(fresh.on_conflict_do_nothing()):
        return None
    mine = sa.and_(*(deliveries.c[name] == value for name, value in key.items()))
    known = tx.execute(sa.select(deliveries.c.execution_id).where(mine)).scalar_one()
    before = tx.one(sa.select(executions).where(executions.c.id == known))
    if before and (before.state not in FINAL or before.ended_at > now - REMEMBERED):
        return str(known)
    tx.execute(sa.update(deliveries).where(mine).values(execution_id=execution_id, created_at=now))
    return None


def _near(unresolved: tuple[template.Unresolved, ...]) -> str:
    hints = [f"the payload has {found.near!r}" for found in unresolved if found.near]
    return f"Perhaps another name is meant: {', '.join(hints)}." if hints else "Look at the event's payload."
