"""The record through REST: what happened, newest first, over every stream or of one. `audit verify` is the command that
checks it."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from starlette.requests import Request
from starlette.routing import Route

from control import events as record
from control.identity.principals import Person, Role
from control.tables import events
from kit import clock
from kit.db import UtcTime
from web import inputs, paging, shapes
from web.openapi import Operation
from web.parts import parts

LONGEST = 40
"""Characters of a stream's name; digits of a number are fewer."""


class Recorded(shapes.Event):
    """An event and the stream it is in: an execution, an enrolled agent's session, or `account`."""

    stream: str


async def list_audit(request: Request, person: Person) -> shapes.Listed[Recorded]:
    """Newest first; of one moment, by stream and number. One stream is in the order of its numbers."""
    given, page, query = parts(request), paging.wanted(request), request.query_params
    asked = sa.select(events).where(events.c.account_id == person.account_id)
    if stream := query.get("stream"):
        asked = asked.where(events.c.stream == stream)
    if type_ := query.get("type"):
        asked = asked.where(events.c.type == type_)
    if since := inputs.since(request, given.clock.now()):
        asked = asked.where(events.c.at >= since)
    order = [events.c.seq] if stream else [events.c.at, events.c.stream, events.c.seq]
    if page.cursor:
        asked = asked.where(sa.tuple_(*order) < sa.tuple_(*_after(page.cursor)[-len(order) :]))
    rows = await given.db.read(asked.order_by(*(key.desc() for key in order)).limit(page.limit + 1))
    shown = rows[: page.limit]
    further = [clock.rfc3339(shown[-1].at), shown[-1].stream, str(shown[-1].seq)] if len(rows) > page.limit else None
    items = [_shape(record.event_of(row)) for row in shown]
    return shapes.Listed(items=items, next=paging.sealed(further) if further else None)


def _after(cursor: str) -> list[sa.ColumnElement[Any]]:
    at, stream, seq = paging.opened(cursor, 3)
    if not (seq.isascii() and seq.isdecimal() and len(seq) < 19 and len(stream) <= LONGEST):
        raise paging.refused(cursor)
    try:
        moment = datetime.fromisoformat(at)
    except ValueError as error:
        raise paging.refused(cursor) from error
    if moment.utcoffset() != timedelta(0):
        raise paging.refused(cursor)  # we write UTC; near the calendar's ends another zone has no UTC
    return [sa.literal(moment, UtcTime()), sa.literal(stream), sa.literal(int(seq))]


def _shape(event: record.Event) -> Recorded:
    return Recorded(stream=event.stream, seq=event.seq, type=event.type, at=event.at, data=event.data, hash=event.hash)


operations = [
    Operation(
        method="GET",
        path="/audit",
        summary="The record, newest first",
        run=list_audit,
        answers=shapes.Listed[Recorded],
        role=Role.ADMIN,
        query=("stream", "type", "since", *paging.QUERY),
    )
]
routes: list[Route] = []
