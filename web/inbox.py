"""The approvals inbox: what waits, oldest first and what is asked of the viewer before the rest, and what was decided.
Each request in words: the flow's own sentence, else its first arguments, with secrets masked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.responses import Response

from control.approvals import requests
from control.approvals.directory import Approver
from control.identity.principals import Person, Role
from control.tables import approvals, votes
from web import approval_reading, arguments, paging, verdicts
from web.approval_shapes import Approval
from web.parts import Parts, parts
from web.render import page

TOLD = 3
"""Arguments that a line shows."""
CLOSED = 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request. `said` is the sentence of its flow; None without one, then `rows` and how many `more` there are."""

    asked: Approval
    said: list[arguments.Spoken] | None
    rows: list[arguments.Argument]
    more: int
    groups: list[str]
    mine: bool


async def inbox_page(request: Request, person: Person) -> Response:
    given = parts(request)
    mine = approval_reading.of_account(person.account_id)
    pending = mine.where(approvals.c.status == requests.Status.PENDING)
    waiting, more = await paging.read(given.db, pending, paging.Page(limit=paging.MOST), approvals.c.id)
    closed = mine.where(approvals.c.status != requests.Status.PENDING)
    wanted = paging.wanted(request, CLOSED)
    over, further = await paging.read(given.db, closed, wanted, approvals.c.id, newest_first=True)
    me = verdicts.known_approver(given, person) if person.may(Role.APPROVER) else None
    done = await _voted(given, me, waiting)
    lines = [_line(given, row, me if row.id not in done else None) for row in waiting]
    return page(
        request,
        "approvals.html",
        person,
        mine=[line for line in lines if line.mine],
        others=[line for line in lines if not line.mine],
        more=more is not None,
        closed=[_line(given, row, None) for row in over],
        next=further,
        directory=given.desk.directory,
    )


async def _voted(given: Parts, me: Approver | None, waiting: Sequence[Row[Any]]) -> set[str]:
    """Requests that wait for others only: the viewer said yes already."""
    if me is None or not waiting:
        return set()
    its = votes.c.approval_id.in_([row.id for row in waiting])
    rows = await given.db.read(sa.select(votes.c.approval_id).where(its, votes.c.approver == me.id))
    return {row.approval_id for row in rows}


def _line(given: Parts, row: Row[Any], me: Approver | None) -> Line:
    args = json.loads(row.args) if row.args else {}
    said = arguments.sentence(row.summary, args)
    rows = [] if said else arguments.rows(args)
    gates = requests.gates(row)
    asked = {
        one
        for gate in gates
        for one in given.desk.directory.asked(gate.group, gate.escalate if requests.went_on(row, gate) else None)
    }
    return Line(
        asked=approval_reading.shaped(row),
        said=said,
        rows=rows[:TOLD],
        more=max(0, len(rows) - TOLD),
        groups=[gate.group for gate in gates],
        mine=me in asked,
    )
