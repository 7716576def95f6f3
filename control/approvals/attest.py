"""Do the requests say what the record says of them, and is none of them gone? Their rows are what pages and queries
show; only events are hashed. Compared are the request, its votes, the arguments people were shown, and
whether its yes was used. Events that can't follow one another differ too: nobody's no becomes a yes that lapsed.

An event of before a fact was written into it says nothing about that fact: `older` counts these requests. Arguments
that retention deleted are `absent`: an event says that it did, and the record keeps their digests. Arguments that are
gone without such an event differ, as do reasons, which nothing deletes.
"""

import hashlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals.requests import Status
from control.tables import approvals, tool_calls, votes
from control.tables import events as stored
from kit.clock import rfc3339
from kit.db import READ_LIMIT, Database, pages

GONE = "its row is gone"
UNTOLD = "no event tells of it"
_TOLD = ("approval.asked", "approval.voted", "approval.changed", "approval.closed", "approval.lapsed")
_SENT = "tool.sent"
_DELETED = "content.deleted"
_LOOKS = 3
"""What differs may only have been read in the middle of a decision: it must differ each time."""
_SHOWN = ("server", "tool", "digest", "args", "approved_args")
_ITS = ("id", "session_id", "execution_id", "call_id", "status", "expires_at", "decided_at", "decided_by", "reason")
_CALL = [tool_calls.c[name].label(f"call_{name}") for name in _SHOWN]
_ROWS = sa.select(*(approvals.c[name] for name in _ITS), *_CALL).outerjoin(
    tool_calls, tool_calls.c.id == approvals.c.call_id
)


@dataclass(slots=True)
class Compared:
    """Request → what of it differs from its events; how many lack content, how many have events that lack facts."""

    unlike: dict[str, tuple[str, ...]] = field(default_factory=dict)
    absent: int = 0
    older: int = 0


@dataclass(slots=True)
class _Told:
    """What the events say of one request. `asked` and `closed` are the events' data."""

    asked: dict[str, Any] = field(default_factory=dict)
    closed: dict[str, Any] = field(default_factory=dict)
    voted: dict[str, dict[str, Any]] = field(default_factory=dict)
    approved: str | None = None
    status: str = Status.PENDING.value
    by: str | None = None
    odd: bool = False
    """An event says what can't have been after the one before."""

    @property
    def older(self) -> bool:
        """Does an event lack what events say now?"""
        facts = "digest" in self.asked and all("at" in vote for vote in self.voted.values())
        return not facts or (bool(self.closed) and "decided" not in self.closed)


@dataclass(slots=True)
class _Calls:
    """What the events say of calls: those that were sent, and what retention took, whole executions or single calls."""

    sent: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def emptied(self, row: Row[Any]) -> bool:
        return not self.deleted.isdisjoint((row.call_id, row.execution_id))

    def deletes(self, event: events.Event) -> None:
        if event.data["kind"] == "results":
            self.deleted.update(event.data.get("calls", [event.stream]))


async def compare(db: Database, account_id: str) -> Compared:
    """All requests of an account with all their events, in both directions."""
    found = Compared()
    mine = approvals.c.account_id == account_id
    async for rows in pages(db, _ROWS.where(mine), approvals.c.id):
        await _look(db, account_id, rows, found)
    for _ in range(_LOOKS - 1):
        again = Compared()
        ids = sorted(found.unlike)
        for first in range(0, len(ids), READ_LIMIT):
            some = approvals.c.id.in_(ids[first : first + READ_LIMIT])
            await _look(db, account_id, await db.read(_ROWS.where(mine, some)), again)
        found.unlike = again.unlike
    found.unlike |= {id_: (GONE,) for id_ in await _gone(db, account_id)}
    return found


async def _look(db: Database, account_id: str, rows: Sequence[Row[Any]], found: Compared) -> None:
    """Some requests against their events. The events are read last, so none of them can be missed."""
    given = await _votes(db, account_id, [row.id for row in rows])
    told, calls = await _told(db, account_id, {events.stream_of(row) for row in rows})
    for row in rows:
        its = told.get(row.id)
        differs = tuple(_differs(row, its, given.get(row.id, {}), calls)) if its and its.asked else (UNTOLD,)
        if differs:
            found.unlike[row.id] = differs
        found.absent += row.call_args == "" and calls.emptied(row)
        found.older += bool(its and its.older)


def _differs(row: Row[Any], told: _Told, given: Mapping[str, Row[Any]], calls: _Calls) -> Iterator[str]:
    """The names of what the row, its call and its votes say otherwise than the events."""
    used = (told.status, row.status) == (Status.APPROVED, Status.CONSUMED)
    if told.odd or used != (row.call_id in calls.sent) or (row.status != told.status and not used):
        yield "status"
    if row.decided_by != told.by:
        yield "decided_by"
    known = "decided" in told.closed or not told.closed
    if known and (rfc3339(row.decided_at) if row.decided_at else None) != told.closed.get("decided"):
        yield "decided_at"
    if (row.reason or None) != (told.closed.get("reason") or None):
        yield "reason"
    if rfc3339(row.expires_at) != told.asked["expires"]:
        yield "expires_at"
    if row.call_id != told.asked["call"] or row.call_tool != told.asked["tool"] or _other_call(row, told, calls):
        yield "arguments"
    if given.keys() != told.voted.keys() or any(_other_vote(vote, told.voted[who]) for who, vote in given.items()):
        yield "votes"


def _other_call(row: Row[Any], told: _Told, calls: _Calls) -> bool:
    """Are the arguments that people are shown others than they were asked about, or than they approved?"""
    if row.call_args == "" and not calls.emptied(row):
        return True
    if row.call_args and bool(row.call_approved_args) != bool(told.approved):
        return True
    if row.call_approved_args and _digest(row.call_approved_args) != told.approved:
        return True
    if "digest" not in told.asked:
        return False
    asked = told.asked["digest"]
    other = bool(row.call_args) and _digest(row.call_args) != asked
    return other or (row.call_digest, row.call_server) != (asked, told.asked["server"])


def _other_vote(vote: Row[Any], told: Mapping[str, Any]) -> bool:
    if (vote.verdict, vote.by) != (told["verdict"], told["via"][:200]):
        return True
    if "at" not in told:
        return False
    reason = _digest(vote.reason) if vote.reason else None
    return (rfc3339(vote.at), reason) != (told["at"], told.get("reason_digest"))


def _digest(text: str) -> str:
    """As `canonical.digest` has it for a text that is canonical already."""
    return hashlib.sha256(text.encode()).hexdigest()


async def _votes(db: Database, account_id: str, ids: Collection[str]) -> dict[str, dict[str, Row[Any]]]:
    """Request → approver → vote."""
    found: dict[str, dict[str, Row[Any]]] = {}
    its = sa.select(votes).where(votes.c.account_id == account_id, votes.c.approval_id.in_(ids))
    async for rows in pages(db, its, votes.c.approval_id, votes.c.approver):
        for row in rows:
            found.setdefault(row.approval_id, {})[row.approver] = row
    return found


async def _told(db: Database, account_id: str, streams: Collection[str]) -> tuple[dict[str, _Told], _Calls]:
    """What the events of some streams say of each request, and of the calls."""
    found: dict[str, _Told] = {}
    calls = _Calls()
    which = stored.c.type.in_((*_TOLD, _SENT, _DELETED)) & stored.c.stream.in_(streams)
    async for rows in _events(db, account_id, which):
        for event in map(events.event_of, rows):
            if event.type == _SENT:
                calls.sent.add(event.data["call"])
            elif event.type == _DELETED:
                calls.deletes(event)
            else:
                _apply(found, event)
    return found, calls


def _apply(found: dict[str, _Told], event: events.Event) -> None:
    told, data = found.setdefault(event.data["approval"], _Told()), event.data
    match event.type:
        case "approval.asked":
            told.asked = data
        case "approval.voted":
            told.voted[data["approver"]] = data
        case "approval.changed":
            told.approved = data["approved"]
        case "approval.closed":
            told.odd |= (told.status, data["status"]) != (
                Status.APPROVED,
                Status.VOID,
            ) and told.status != Status.PENDING
            told.closed, told.status, told.by = data, data["status"], data["by"] or told.by
        case "approval.lapsed":
            told.odd |= told.status != Status.APPROVED
            told.status = Status.LAPSED.value


async def _gone(db: Database, account_id: str) -> list[str]:
    """Requests that events tell of and that have no row. Both are written in one unit: an event without its row is no
    question of when one looks."""
    found: list[str] = []
    mine = approvals.c.account_id == account_id
    async for rows in _events(db, account_id, stored.c.type == "approval.asked"):
        ids = {events.event_of(row).data["approval"] for row in rows}
        kept = await db.read(sa.select(approvals.c.id).where(mine, approvals.c.id.in_(ids)))
        found += sorted(ids - {row.id for row in kept})
    return found


def _events(db: Database, account_id: str, which: sa.ColumnElement[bool]) -> AsyncIterator[Sequence[Row[Any]]]:
    """The events of an account that are like this, in the order of the table's key."""
    its = sa.select(stored).where(stored.c.account_id == account_id, which)
    return pages(db, its, stored.c.stream, stored.c.seq)
