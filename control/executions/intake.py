"""An event in, an execution out. A delivery that comes again while its execution lives makes no second one."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.executions import figures
from control.executions.lifecycle import LISTED, QUEUE, WORK
from control.executions.states import FINAL, Stored
from control.flows import catalog, template
from control.flows.flow import Flow
from control.identity.repeats import KEPT_FOR
from control.tables import deliveries, executions, flows
from control.tables import events as recorded
from kit import canonical
from kit.db import Tx
from kit.errors import Conflict, Invalid, Missing, Throttled
from kit.ids import new_id

REMEMBERED = timedelta(minutes=10)
"""How long after its execution's end a delivery id is still known."""
KEYED = "key:"
"""How the id of an `Idempotency-Key` begins, which is known for a day."""


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
    about: Mapping[str, Any] = MappingProxyType({}),
    delivery_id: str | None = None,
    source_url: str | None = None,
    most_pending: int | None = None,
    traceparent: str | None = None,
) -> Started:
    """Make a PENDING execution of the flow's newest version for an event.

    `about` is what is known of the event beside its payload. Throttled when `most_pending` of this trigger wait.
    `traceparent` is the caller's, as `kit/traces` keeps it.
    """
    row, flow = catalog.find(tx, account_id, flow_name)
    if trigger == "webhook" and not flow.starts_by("webhook"):
        raise Invalid(
            "trigger_missing", f"The flow {flow_name!r} has no webhook trigger.", "Add {type: webhook} to its triggers."
        )
    event = {**about, "type": trigger, "payload": payload}
    origin = {"trigger_type": trigger, "source_url": source_url}
    told = {"by": by, "traceparent": traceparent} if traceparent else {"by": by}
    return _make(tx, row, flow, event, origin, told, delivery_id=delivery_id, most_pending=most_pending)


def _make(
    tx: Tx,
    row: Row[Any],
    flow: Flow,
    event: dict[str, Any],
    origin: dict[str, Any],
    told: Mapping[str, Any],
    *,
    delivery_id: str | None = None,
    most_pending: int | None = None,
) -> Started:
    """`origin` are further columns: what started it, and which execution was before it. `told` is what its first event
    says of who made it."""
    execution_id = new_id("exe")
    if delivery_id is not None:
        same, before = _deliver(tx, row.account_id, row.id, delivery_id, execution_id)
        if same is not None:
            return Started(execution_id=same, repeated=True)
        origin = origin | {"resends": before}
    trigger = origin["trigger_type"]
    if most_pending is not None:
        _check_room(tx, row, trigger, most_pending)
    prompt = _prompt(flow, event)
    values = {"id": execution_id, "account_id": row.account_id, "flow_id": row.id, "flow_name": flow.name}
    values |= {"flow_version": row.version, "state": Stored.PENDING.value, "trigger_event": canonical.dumps(event)}
    keeps = flow.retention.by_class()
    values |= {"keeps": canonical.dumps(keeps) if keeps else None}
    limits = {"concurrency": flow.limits.concurrency, "timeout_s": flow.limits.timeout, "wall_s": flow.limits.wall}
    tx.execute(sa.insert(executions).values(values | limits | prompt | origin | {"created_at": tx.now()}))
    data = {"flow": flow.name, "version": row.version, "trigger": trigger, **told}
    data |= {"retry_of": origin["retry_of"]} if "retry_of" in origin else {}
    events.append(tx, row.account_id, execution_id, "execution.created", **data)
    figures.created(tx, trigger)
    tx.wake(WORK)
    tx.wake(QUEUE)
    return Started(execution_id=execution_id)


def _check_room(tx: Tx, row: Row[Any], trigger: str, most: int) -> None:
    """Throttled when so many of this trigger wait already. The flow's row is held, so that senders who come at the same
    moment are counted one after the other."""
    tx.execute(sa.select(flows.c.id).where(flows.c.id == row.id).with_for_update())
    waits = (executions.c.state == Stored.PENDING) & (executions.c.trigger_type == trigger)
    mine = (executions.c.account_id == row.account_id) & (executions.c.flow_id == row.id)
    some = sa.select(executions.c.id).where(mine, waits).limit(most).subquery()
    if tx.execute(sa.select(sa.func.count()).select_from(some)).scalar_one() >= most:
        raise Throttled(
            "queue_full",
            f"{most} executions of the flow {row.name!r} that a {trigger} made are waiting already.",
            "Send it again later, with the same delivery id. `limits.concurrency` and the plan's slots say how "
            "many run at once, server.max_pending how many may wait.",
        )


def _prompt(flow: Flow, event: dict[str, Any]) -> dict[str, str]:
    """The rendered prompt and what stayed unresolved in it, as the row keeps them."""
    rendered = template.render(flow.prompt, {"trigger_event": event})
    if rendered.unresolved and flow.on_undefined == "fail":
        named = ", ".join(found.name for found in rendered.unresolved)
        hints = ", ".join(dict.fromkeys(found.hint for found in rendered.unresolved if found.hint))
        raise Invalid("prompt_undefined", f"The event has no {named}.", f"Here {hints}.")
    return {"prompt": rendered.text, "unresolved": canonical.dumps(list(map(asdict, rendered.unresolved)))}


def rerun(tx: Tx, account_id: str, execution_id: str, *, by: str, delivery_id: str | None = None) -> Started:
    """A new execution from the event of an old one, as it was; the old one stays as it is."""
    mine = (executions.c.id == execution_id) & (executions.c.account_id == account_id)
    old = tx.one(sa.select(executions).where(mine))
    if old is None:
        raise Missing("execution_unknown", f"There is no execution {execution_id}.", LISTED)
    if old.payload_deleted_at is not None:
        text = f"The event of {execution_id} was deleted by retention on {old.payload_deleted_at:%Y-%m-%d}."
        raise Conflict("payload_deleted", text, "Start the flow with a payload: `preloop run FLOW --payload FILE`.")
    row, flow = catalog.find(tx, account_id, old.flow_name)
    origin = {"trigger_type": old.trigger_type, "source_url": old.source_url, "reruns": old.id}
    return _make(tx, row, flow, json.loads(old.trigger_event), origin, {"by": by}, delivery_id=delivery_id)


def retry(tx: Tx, ended: Row[Any], *, not_before: datetime) -> str:
    """The next attempt of an execution that ended, from the same event; the queue leaves it alone until then."""
    if ended.payload_deleted_at is not None:
        raise Conflict("payload_deleted", "Its event was deleted.")
    row, flow = catalog.find(tx, ended.account_id, ended.flow_name)
    origin = {name: getattr(ended, name) for name in ("trigger_type", "source_url", "resends")}
    origin |= {"retry_of": ended.id, "attempt": ended.attempt + 1, "not_before": not_before}
    origin["budget_of"] = ended.budget_of or ended.id
    return _make(tx, row, flow, json.loads(ended.trigger_event), origin, _told(tx, ended)).execution_id


def _told(tx: Tx, row: Row[Any]) -> dict[str, Any]:
    """Who started an execution, and in which trace of theirs. Its retries are theirs too: four eyes look at this."""
    first = (recorded.c.account_id == row.account_id) & (recorded.c.stream == row.id) & (recorded.c.seq == 1)
    body = tx.execute(sa.select(recorded.c.body).where(first)).scalar_one()
    data = json.loads(body)["data"]
    return {name: data[name] for name in ("by", "traceparent") if name in data}


def _last(tx: Tx, execution_id: str) -> Row[Any]:
    """The last of an execution and its retries: while one of them is to come, all of it lives."""
    row = tx.execute(sa.select(executions).where(executions.c.id == execution_id)).one()
    while row.retried_by is not None:
        row = tx.execute(sa.select(executions).where(executions.c.id == row.retried_by)).one()
    return row


def _deliver(
    tx: Tx, account_id: str, flow_id: str, delivery_id: str, execution_id: str
) -> tuple[str | None, str | None]:
    """Keep a delivery for this execution: (the one it made before, when that still counts, the first it made)."""
    key = {"account_id": account_id, "flow_id": flow_id, "delivery_id": delivery_id}
    now = tx.now()
    fresh = tx.insert(deliveries).values(key | {"execution_id": execution_id, "created_at": now})
    if tx.changed(fresh.on_conflict_do_nothing()):
        return None, None
    mine = sa.and_(*(deliveries.c[name] == value for name, value in key.items()))
    known = tx.execute(sa.select(deliveries.c.execution_id).where(mine).with_for_update()).scalar_one()
    before = _last(tx, known)
    remembered = KEPT_FOR if delivery_id.startswith(KEYED) else REMEMBERED
    if before.state not in FINAL or before.ended_at > now - remembered:
        return str(known), None
    tx.execute(sa.update(deliveries).where(mine).values(execution_id=execution_id, created_at=now))
    return None, str(before.resends or before.budget_of or before.id)
