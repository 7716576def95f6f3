"""The record: what happened, newest first, over every stream or of one, and how each event hangs on the one before it.
`audit verify` is the command that checks all of it; the page checks the links it shows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.engine import Row
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from control import audit as chain
from control import events as record
from control.identity.principals import Person, Role
from control.tables import events
from kit import clock
from kit.db import UtcTime
from kit.masking import masked
from web import auth, inputs, paging, shapes, tools
from web.openapi import Operation
from web.parts import parts
from web.render import page

LONGEST = 40
"""Characters of a stream's name; digits of a number are fewer."""


class Recorded(shapes.Event):
    """An event and the stream it is in: an execution, an enrolled agent's session, or `account`."""

    stream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An event as the page has it: what it is about, and the hash it hangs on ('' for a stream's first)."""

    event: record.Event
    at: datetime
    links: Sequence[tuple[str, str]]
    previous: str
    holds: bool


async def list_audit(request: Request, person: Person) -> shapes.Listed[Recorded]:
    """Newest first; of one moment, by stream and number. One stream is in the order of its numbers."""
    rows, further = await _rows(request, person)
    return shapes.Listed(items=[_shape(_read(row)) for row in rows], next=further)


async def _rows(request: Request, person: Person) -> tuple[Sequence[Row[Any]], str | None]:
    """A page of events, and the cursor of the next one."""
    given, wanted, query = parts(request), paging.wanted(request), request.query_params
    asked = sa.select(events).where(events.c.account_id == person.account_id)
    if stream := query.get("stream"):
        asked = asked.where(events.c.stream == stream)
    if type_ := query.get("type"):
        asked = asked.where(events.c.type == type_)
    if since := inputs.since(request, given.clock.now()):
        asked = asked.where(events.c.at >= since)
    order = [events.c.seq] if stream else [events.c.at, events.c.stream, events.c.seq]
    if wanted.cursor:
        asked = asked.where(sa.tuple_(*order) < sa.tuple_(*_after(wanted.cursor)[-len(order) :]))
    rows = await given.db.read(asked.order_by(*(key.desc() for key in order)).limit(wanted.limit + 1))
    shown = rows[: wanted.limit]
    further = [clock.rfc3339(shown[-1].at), shown[-1].stream, str(shown[-1].seq)] if len(rows) > wanted.limit else None
    return shown, paging.sealed(further) if further else None


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


def _read(row: Row[Any]) -> record.Event:
    """An event as people read it; its hash is of what the database has."""
    event = record.event_of(row)
    return replace(event, data=masked(event.data))


def _shape(event: record.Event) -> Recorded:
    return Recorded(stream=event.stream, seq=event.seq, type=event.type, at=event.at, data=event.data, hash=event.hash)


async def audit_page(request: Request, person: Person) -> Response:
    """The page knows of each event the one before it, so that a link that does not hold is seen where it is read."""
    rows, further = await _rows(request, person)
    before = await _before(request, person, rows)
    items = [_drawn(row, before.get((row.stream, row.seq - 1), "")) for row in rows]
    query = {name: value for name in ("stream", "type", "since") if (value := request.query_params.get(name))}
    types = sorted({item.event.type for item in items})
    return page(request, "audit.html", person, listed={"items": items, "next": further}, query=query, types=types)


async def _before(request: Request, person: Person, rows: Sequence[Row[Any]]) -> dict[tuple[str, int], str]:
    """The hashes of the events just before these, by stream and number."""
    if not rows:
        return {}
    asked = sa.select(events.c.stream, events.c.seq, events.c.hash).where(events.c.account_id == person.account_id)
    wanted = sa.tuple_(events.c.stream, events.c.seq).in_([(row.stream, row.seq - 1) for row in rows])
    return {(row.stream, row.seq): row.hash for row in await parts(request).db.read(asked.where(wanted))}


def _drawn(row: Row[Any], previous: str) -> Shown:
    event = _read(row)
    holds = (row.seq == 1 or previous != "") and chain.link(previous, row.body) == row.hash
    return Shown(event=event, at=row.at, links=_links(event), previous=previous, holds=holds)


_ABOUT = {"approval": "/approvals/", "execution": "/executions/", "session": "/sessions/", "flow": "/flows/"}


def _links(event: record.Event) -> list[tuple[str, str]]:
    """(label, address) of what an event is about: its stream, and what its data name."""
    kind = {"exe": "Execution", "ses": "Session"}.get(event.stream.partition("_")[0])
    found = [(kind, f"{_ABOUT[kind.lower()]}{event.stream}")] if kind else []
    for name, at in _ABOUT.items():
        value = event.data.get(name)
        if isinstance(value, str) and value and value != event.stream:
            found.append((name.capitalize(), at + quote(value, safe="")))
    if event.type.startswith("tool.") and isinstance(event.data.get("server"), str):
        found.append(("Tool", tools.address(event.data["server"], str(event.data["tool"]))))
    return found


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
routes = [Route("/audit", auth.shown(audit_page, Role.ADMIN), methods=["GET"])]
