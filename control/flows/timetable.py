"""When the schedule triggers of flows fire next: a row for each, planned when a file is applied, taken by a conditional
UPDATE, so that of several processes one fires."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.flows import schedule
from control.flows.flow import Flow
from control.flows.triggers import Trigger
from control.tables import flows, schedules
from kit.db import Tx

TOGETHER = 100
"""Rows that are looked at in one go."""


def plan(tx: Tx, account_id: str, flow_id: str, flow: Flow) -> None:
    """Make the rows of a flow those of its newest file. A schedule that stays keeps its time, also one that is due."""
    mine, now = schedules.c.flow_id == flow_id, tx.now()
    kept = {row.position: row for row in tx.execute(sa.select(schedules).where(mine)).all()}
    wanted = {number: one for number, one in enumerate(flow.triggers) if one.type == "schedule"}
    tx.execute(sa.delete(schedules).where(mine, schedules.c.position.not_in(wanted)))
    for position, trigger in wanted.items():
        before = kept.get(position)
        if before is not None and (before.cron, before.zone) == (trigger.cron, trigger.zone):
            continue
        values: dict[str, Any] = {"cron": trigger.cron, "zone": trigger.zone, "last_at": None}
        values |= {"next_at": next(iter(schedule.following(trigger.cron, trigger.zone, now)), None)}
        at = {"flow_id": flow_id, "position": position, "account_id": account_id}
        made = tx.insert(schedules).values(at | values)
        tx.execute(made.on_conflict_do_update(index_elements=["flow_id", "position"], set_=values))


def due(tx: Tx) -> Sequence[Row[Any]]:
    """Rows whose time has come, with their flow's name, longest ago first."""
    its = sa.select(schedules, flows.c.name).join(flows, flows.c.id == schedules.c.flow_id)
    return tx.execute(its.where(schedules.c.next_at <= tx.now()).order_by(schedules.c.next_at).limit(TOGETHER)).all()


def take(tx: Tx, row: Row[Any]) -> bool:
    """Is this fire time ours? Then the row has its next one."""
    now = tx.now()
    mine = (schedules.c.flow_id == row.flow_id) & (schedules.c.position == row.position)
    mine &= (schedules.c.next_at == row.next_at) & (schedules.c.cron == row.cron) & (schedules.c.zone == row.zone)
    following = next(iter(schedule.following(row.cron, row.zone, now)), None)
    return tx.changed(sa.update(schedules).where(mine).values(next_at=following, last_at=now))


def trigger(flow: Flow, row: Row[Any]) -> Trigger | None:
    """The trigger of a flow's newest file that a row belongs to."""
    found = flow.triggers[row.position] if row.position < len(flow.triggers) else None
    return found if found is not None and (found.cron, found.zone) == (row.cron, row.zone) else None
