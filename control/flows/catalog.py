"""Flows as versioned records: apply a file, find one, read a version. Each flow has a sealed secret for its webhook."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.flows import hook_secrets, timetable
from control.flows.flow import Flow, loads
from control.flows.source import Written
from control.tables import flow_versions, flows
from kit.db import Database, Tx, pages
from kit.errors import Missing
from kit.ids import new_id
from kit.secrets import Sealer


def apply(tx: Tx, account_id: str, written: Written, *, sealer: Sealer, by: str) -> tuple[str, int, bool]:
    """Store a checked file as the newest version: (name, version, changed). The same content again changes nothing."""
    flow, body, now = written.flow, written.stored, tx.now()
    values = {"id": new_id("flo"), "account_id": account_id, "name": flow.name, "version": 0, "created_at": now}
    fresh = tx.insert(flows).values(values | {"hook_secret": sealer.seal(hook_secrets.fresh())})
    tx.execute(fresh.on_conflict_do_nothing())
    row = tx.execute(_named(account_id, flow.name).with_for_update()).one()
    its = (flow_versions.c.flow_id == row.id) & (flow_versions.c.version == row.version)
    if tx.execute(sa.select(flow_versions.c.body).where(its)).scalar() == body:
        return flow.name, row.version, False
    flow_id, version = row.id, row.version + 1
    tx.execute(sa.update(flows).where(flows.c.id == flow_id).values(version=version))
    stored = {"flow_id": flow_id, "version": version, "account_id": account_id, "body": body, "created_at": now}
    tx.execute(sa.insert(flow_versions).values(stored))
    timetable.plan(tx, account_id, flow_id, flow)
    events.append(tx, account_id, events.ACCOUNT, "flow.applied", flow=flow.name, version=version, by=by)
    return flow.name, version, True


def take(tx: Tx, account_id: str, name: str) -> Row[Any] | None:
    """The newest version of a flow, if there is one; nobody else applies another before this unit is over."""
    if tx.one(_named(account_id, name).with_for_update()) is None:
        return None
    return tx.one(newest(account_id).where(flows.c.name == name))


def find(tx: Tx, account_id: str, name: str) -> tuple[Row[Any], Flow]:
    """The newest version of a flow, inside a unit: (flows row, flow)."""
    row = tx.one(newest(account_id).where(flows.c.name == name))
    if row is None:
        raise Missing("flow_unknown", f"There is no flow {name!r}.", "`preloop flows list` shows the flows there are.")
    return row, loads(row.body)


async def read(db: Database, account_id: str, name: str, number: int | None = None) -> tuple[Row[Any], Flow]:
    """The same, for readers, or an older version."""
    asked = newest(account_id) if number is None else versions(account_id).where(flow_versions.c.version == number)
    rows = await db.read(asked.where(flows.c.name == name))
    if rows:
        return rows[0], loads(rows[0].body)
    if number is None:
        raise Missing("flow_unknown", f"There is no flow {name!r}.", "`preloop flows list` shows the flows there are.")
    row, _ = await read(db, account_id, name)
    raise Missing(
        "flow_version_unknown", f"The flow {name!r} has no version {number}.", f"Its versions are 1 to {row.version}."
    )


def version(tx: Tx, flow_id: str, number: int) -> Flow:
    """The version an execution was made from."""
    stored = sa.select(flow_versions.c.body).where(
        flow_versions.c.flow_id == flow_id, flow_versions.c.version == number
    )
    return loads(tx.execute(stored).scalar_one())


def _named(account_id: str, name: str) -> sa.Select[Any]:
    return sa.select(flows).where(flows.c.account_id == account_id, flows.c.name == name)


def newest(account_id: str) -> sa.Select[Any]:
    """The question for all flows of an account, each as its newest version has it."""
    return versions(account_id).where(flow_versions.c.version == flows.c.version)


def versions(account_id: str) -> sa.Select[Any]:
    """The same for every version: the flow's row, and the version's `number`, `body` and `applied_at`."""
    number, applied = flow_versions.c.version.label("number"), flow_versions.c.created_at.label("applied_at")
    asked = sa.select(flows, number, applied, flow_versions.c.body)
    return asked.join(flow_versions, flow_versions.c.flow_id == flows.c.id).where(flows.c.account_id == account_id)


async def started_by(db: Database, account_id: str, kind: str) -> list[tuple[str, Flow]]:
    """Every flow with a trigger of this type, by name."""
    its = newest(account_id).where(flow_versions.c.body.contains(f'"type":"{kind}"'))
    found = [(row.name, loads(row.body)) async for rows in pages(db, its, flows.c.name) for row in rows]
    return [(name, flow) for name, flow in found if flow.starts_by(kind)]
