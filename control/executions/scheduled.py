"""Schedules fire: one execution for each fire time, and one for all that were missed while nothing ran, or none."""

from typing import Any

from sqlalchemy.engine import Row

from control import events
from control.executions import intake
from control.executions.intake import Started
from control.flows import catalog, schedule, timetable
from kit.clock import rfc3339
from kit.db import Tx
from kit.errors import Fault


def fire(tx: Tx, row: Row[Any], *, most_pending: int | None = None) -> Started | None:
    """Start the execution of a row of `timetable.due`; None when another process did, or when none is to start. Why
    none started is an event of the account."""
    now = tx.now()
    _, flow = catalog.find(tx, row.account_id, row.name)
    trigger = timetable.trigger(flow, row)
    if trigger is None or not timetable.take(tx, row):
        return None
    late, on_time = schedule.missed(row.cron, row.zone, row.next_at, now)
    told = {"cron": row.cron, "zone": row.zone, "scheduled_at": rfc3339(row.next_at), "missed": late}
    if late and not on_time and trigger.missed == "skip":
        events.append(tx, row.account_id, events.ACCOUNT, "schedule.skipped", flow=row.name, **told)
        return None
    try:
        return intake.start(
            tx,
            row.account_id,
            row.name,
            {},
            trigger="schedule",
            by="clock",
            about=told,
            most_pending=most_pending,
        )
    except Fault as fault:  # it is raised before anything is written
        why = {"code": fault.code, "message": fault.message}
        events.append(tx, row.account_id, events.ACCOUNT, "schedule.refused", flow=row.name, **told, **why)
        return None
