"""Which definition of a tool is served: the one that was accepted. What an upstream says of a tool is pinned by the
digest of the whole raw object; another digest is another tool until an admin, or the settings, say otherwise.

Of one tool at most one row is `accepted`, and at most one is what the upstream says instead: `seen` while nothing was
accepted yet, `quarantined` when it took the place of something that was, `unusable` when nobody could serve it. The
rest is history, `replaced`.
"""

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import endings
from control.tables import definitions
from kit.db import Database, Tx, pages
from kit.errors import Conflict, Missing

TOPIC = "tools"
"""Woken when a tool is accepted or quarantined."""
BY_SETTINGS = "preloop.toml"


class Status(StrEnum):
    SEEN = "seen"  # nothing of this tool was accepted yet
    ACCEPTED = "accepted"  # what is served
    QUARANTINED = "quarantined"  # what the upstream says instead
    UNUSABLE = "unusable"  # said instead too, and arguments can't be checked against it: nobody can accept it
    REPLACED = "replaced"  # what it once said


OPEN = (Status.SEEN, Status.QUARANTINED, Status.UNUSABLE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What an upstream says a tool is: `raw` is canonical JSON, `digest` its SHA-256; `flaw` why it can't be served."""

    tool: str
    digest: str
    raw: str
    flaw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the settings accept: the first definition of each tool that is seen, or digests by tool."""

    first_use: bool = False
    pinned: Mapping[str, str] | None = None


def see(tx: Tx, account_id: str, server: str, found: Sequence[Seen], trust: Trust) -> None:
    """Record what an upstream says now; what was accepted before and is not said any more stops being served."""
    mine = (definitions.c.account_id == account_id) & (definitions.c.server == server)
    known: dict[str, dict[str, Row[Any]]] = {}
    for row in tx.execute(sa.select(definitions).where(mine)).all():
        known.setdefault(row.tool, {})[row.digest] = row
    for seen in found:
        rows = known.get(seen.tool, {})
        status = _judge(seen, rows, trust)
        before = rows.get(seen.digest)
        if before is None or before.status != status:
            _put(tx, account_id, server, seen, status, rows, trust)
        elif status is Status.ACCEPTED:
            _retire(tx, account_id, server, seen, OPEN)


def _judge(seen: Seen, rows: Mapping[str, Row[Any]], trust: Trust) -> Status:
    if seen.flaw:
        return Status.UNUSABLE
    accepted = next((row.digest for row in rows.values() if row.status == Status.ACCEPTED), None)
    if pin := (trust.pinned or {}).get(seen.tool):
        return Status.ACCEPTED if pin == seen.digest else Status.QUARANTINED
    if accepted == seen.digest or (accepted is None and trust.first_use):
        return Status.ACCEPTED
    return Status.SEEN if accepted is None else Status.QUARANTINED


def _put(
    tx: Tx, account_id: str, server: str, seen: Seen, status: Status, rows: Mapping[str, Row[Any]], trust: Trust
) -> None:
    by = BY_SETTINGS if status is Status.ACCEPTED or seen.tool in (trust.pinned or {}) else None
    _retire(tx, account_id, server, seen, (*OPEN, Status.ACCEPTED) if status is Status.ACCEPTED else OPEN)
    reason = _reason(server, seen.tool, pinned=by is not None) if status is Status.QUARANTINED else seen.flaw or None
    now = tx.now()
    decided = {"status": status.value, "reason": reason, "decided_by": by, "decided_at": now if by else None}
    values = _key(account_id, server, seen) | {"raw": seen.raw, "seen_at": now} | decided
    kept = tx.insert(definitions).values(values)
    key = ["account_id", "server", "tool", "digest"]
    tx.execute(kept.on_conflict_do_update(index_elements=key, set_=decided | {"seen_at": now}))
    data = {"server": server, "tool": seen.tool, "digest": seen.digest, "by": by}
    events.append(tx, account_id, events.ACCOUNT, f"tool.{status.value}", **data)
    if reason is not None and rows:
        endings.void(tx, account_id, server, seen.tool, reason)
    tx.wake(TOPIC)


def _key(account_id: str, server: str, seen: Seen) -> dict[str, str]:
    return {"account_id": account_id, "server": server, "tool": seen.tool, "digest": seen.digest}


def _retire(tx: Tx, account_id: str, server: str, seen: Seen, statuses: Sequence[Status]) -> None:
    """Whatever else was said of the tool in these states is history."""
    others = (definitions.c.account_id == account_id) & (definitions.c.server == server)
    others &= (definitions.c.tool == seen.tool) & (definitions.c.digest != seen.digest)
    retired = sa.update(definitions).where(others, definitions.c.status.in_(statuses))
    tx.execute(retired.values(status=Status.REPLACED.value))


def _reason(server: str, tool: str, *, pinned: bool) -> str:
    if pinned:
        return (
            f"Tool '{tool}' of '{server}' is not what preloop.toml pins. Nothing was called; change the pin to use it."
        )
    return (
        f"Tool '{tool}' of '{server}' changed its definition and is quarantined until an admin accepts it "
        f"(/tools/{server}/{tool}). Nothing was called and earlier approvals of it are void."
    )


def refusal(name: str, server: str, tool: str, row: Row[Any] | None) -> str:
    """What an agent reads that calls a tool which is not served."""
    if row is not None and row.reason:
        return str(row.reason)
    return (
        f"Tool '{name}' was not called: nobody has accepted its definition yet. An admin does that at "
        f"/tools/{server}/{tool} or with `preloop tools accept {server} {tool}`; call it again then."
    )


def accept(tx: Tx, account_id: str, server: str, tool: str, *, digest: str, by: str) -> None:
    """Serve what the upstream says now. `digest` is what was looked at; something newer is a Conflict."""
    its = (definitions.c.account_id == account_id) & (definitions.c.server == server) & (definitions.c.tool == tool)
    rows = tx.execute(sa.select(definitions).where(its)).all()
    if not rows:
        raise Missing("tool_unknown", f"No tool '{tool}' of a server '{server}' was ever seen.", "/tools lists them.")
    row = next((row for row in rows if row.digest == digest), None)
    if row is None or row.status == Status.REPLACED:
        raise Conflict("tool_changed", "The tool is not what you looked at any more.", "Look at it again.")
    if row.status == Status.ACCEPTED:
        return
    if row.status == Status.UNUSABLE:
        raise Conflict("tool_unusable", str(row.reason), "Its server must describe it otherwise.")
    if row.decided_by == BY_SETTINGS:
        raise Conflict("tool_pinned", f"preloop.toml pins '{tool}' to another definition.", "Change the pin there.")
    seen = Seen(tool=tool, digest=digest, raw=row.raw)
    _retire(tx, account_id, server, seen, (Status.ACCEPTED,))
    decided = {"status": Status.ACCEPTED.value, "reason": None, "decided_by": by, "decided_at": tx.now()}
    tx.execute(sa.update(definitions).where(its, definitions.c.digest == digest).values(decided))
    data = {"server": server, "tool": tool, "digest": digest, "by": by}
    events.append(tx, account_id, events.ACCOUNT, "tool.accepted", **data)
    tx.wake(TOPIC)


def accepted(tx: Tx, account_id: str, server: str, tool: str, digest: str | None) -> str | None:
    """The raw definition behind a digest, if that is what is served now."""
    its = (definitions.c.account_id == account_id) & (definitions.c.server == server) & (definitions.c.tool == tool)
    its &= (definitions.c.digest == digest) & (definitions.c.status == Status.ACCEPTED)
    return tx.execute(sa.select(definitions.c.raw).where(its)).scalar()


Named = tuple[str, str]
"""A server and its tool."""


def names(account_id: str) -> sa.Select[Any]:
    """The question for the (server, tool) of every tool that was seen, once each."""
    return sa.select(definitions.c.server, definitions.c.tool).where(_lasting(account_id)).distinct()


async def current(db: Database, account_id: str, span: tuple[Named, Named] | None = None) -> list[Row[Any]]:
    """All rows but history, by server and tool: the accepted one of a tool, and what is said instead of it. `span` is
    the first and the last tool to read."""
    order = (definitions.c.server, definitions.c.tool, definitions.c.digest)
    asked = sa.select(definitions).where(_lasting(account_id))
    if span:
        first, last = (sa.tuple_(*map(sa.literal, named)) for named in span)
        asked = asked.where(sa.tuple_(*order[:2]) >= first, sa.tuple_(*order[:2]) <= last)
    return [row async for rows in pages(db, asked, *order) for row in rows]


def _lasting(account_id: str) -> sa.ColumnElement[bool]:
    return (definitions.c.account_id == account_id) & (definitions.c.status != Status.REPLACED.value)


def diff(before: str | None, after: str) -> str:
    """Two raw definitions line by line, as a unified diff; '' when there is nothing to compare."""
    if before is None:
        return ""
    old, new = (json.dumps(json.loads(raw), indent=2, ensure_ascii=False, sort_keys=True) for raw in (before, after))
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "accepted", "now", lineterm="", n=3)
    return "\n".join(lines)
