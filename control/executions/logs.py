"""An execution's log: numbered lines in chunks, the engine's cursor in the same row. Log lines are not events.
Of a long log that is over the rows keep the numbers, and blobs have the lines (`archive`).

Two sources write: the engine's output (bulk lane) and the story, the product's own lines about tools and approvals,
in the unit of what they tell. Numbers are taken from the execution's log stream, so that both fall into one order.
"""

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Row

from control.events import topic
from control.executions import figures
from control.tables import log_chunks, streams
from kit.blobs import Blobs
from kit.clock import rfc3339
from kit.db import Database, Tx
from kit.errors import Missing
from kit.prepared import Prepared


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `source` is setup, agent or preloop; `level` is info, warning or error."""

    number: int
    at: str
    source: str
    level: str
    text: str


JOINERS = "\u200c\u200d"
"""Of letters in Persian or Hindi and of emoji: they turn nothing."""
_MINE = (streams.c.account_id == sa.bindparam("account")) & (streams.c.id == sa.bindparam("stream"))
_COUNTED = {"last_seq": streams.c.last_seq + sa.bindparam("count"), "bytes": streams.c.bytes + sa.bindparam("size")}
_NUMBER = sa.update(streams).where(_MINE).values(_COUNTED)
_NUMBERED = Prepared(_NUMBER.returning(streams.c.last_seq))
_APPENDED = Prepared(sa.insert(log_chunks))


def stream_of(execution_id: str) -> str:
    """The row of `streams` that counts a log's lines and bytes."""
    return f"{execution_id}.log"


def file_of(execution_id: str) -> str:
    """The blob that has the whole output as it came."""
    return f"logs/{execution_id}.txt"


def parts_of(execution_id: str) -> str:
    """Where the blobs of moved lines are."""
    return f"logs/{execution_id}"


def part_of(execution_id: str, first: int, count: int) -> str:
    """The blob of so many lines; they never change, so neither does it."""
    return f"{parts_of(execution_id)}/{first}-{count}"


def weigh(tx: Tx, account_id: str, execution_id: str, size: int) -> None:
    """A log takes so many bytes more than its lines do."""
    mine = (streams.c.account_id == account_id) & (streams.c.id == stream_of(execution_id))
    tx.execute(sa.update(streams).where(mine).values(bytes=streams.c.bytes + size))


def append(
    tx: Tx, account_id: str, execution_id: str, lines: Sequence[tuple[str, str, str, str]], *, cursor: str | None = None
) -> int:
    """Store (at, source, level, text) lines as one chunk; returns the number of the first."""
    text = json.dumps(lines, ensure_ascii=False)
    stream = {"account": account_id, "stream": stream_of(execution_id), "count": len(lines), "size": len(text.encode())}
    last = tx.run(_NUMBERED, stream).scalar()
    if last is None:  # its first lines
        made = tx.insert(streams).values(account_id=account_id, id=stream["stream"], last_seq=0, head="")
        tx.execute(made.on_conflict_do_nothing())
        last = tx.run(_NUMBERED, stream).scalar_one()
    first = int(last) - len(lines) + 1
    row = {"execution_id": execution_id, "first": first, "account_id": account_id, "count": len(lines)}
    tx.run(_APPENDED, row | {"lines": text, "cursor": cursor, "at": tx.now()})
    tx.wake(topic(execution_id))
    figures.logged(tx, len(lines), len(text.encode()))
    return first


def story(tx: Tx, account_id: str, execution_id: str | None, level: str, *texts: str) -> None:
    """The product's own lines about a run, each one line whatever an agent or a tool wrote into it; an enrolled agent
    without an execution has no log."""
    if execution_id is not None:
        at = rfc3339(tx.now())
        append(tx, account_id, execution_id, [(at, "preloop", level, one_line(text)) for text in texts])


def one_line(text: str) -> str:
    """With escapes for what would break a line, move a terminal's cursor or turn the direction: \\n, \\x1b, \\u202e."""
    if text.isprintable():
        return text
    return "".join(char.encode("unicode_escape").decode() if _steers(char) else char for char in text)


def _steers(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and char not in JOINERS


def cursor(tx: Tx, execution_id: str) -> str:
    """Where the engine's output is to be read on; '' from the beginning."""
    stored = sa.select(log_chunks.c.cursor).where(
        log_chunks.c.execution_id == execution_id, log_chunks.c.cursor.is_not(None)
    )
    return tx.execute(stored.order_by(log_chunks.c.first.desc()).limit(1)).scalar() or ""


def reached(tx: Tx, execution_id: str, cursor: str) -> None:
    """The output was read up to a cursor, and not kept: a log that has lines already goes on from there."""
    newest = sa.select(sa.func.max(log_chunks.c.first)).where(log_chunks.c.execution_id == execution_id)
    mine = (log_chunks.c.execution_id == execution_id) & (log_chunks.c.first == newest.scalar_subquery())
    tx.execute(sa.update(log_chunks).where(mine).values(cursor=cursor))


async def first_error(db: Database, account_id: str, execution_id: str) -> int | None:
    """The number of the first line of level error; of a log that was moved to blobs nobody looks."""
    its = (log_chunks.c.account_id == account_id) & (log_chunks.c.execution_id == execution_id)
    asked = sa.select(log_chunks.c.first, log_chunks.c.lines).where(its, log_chunks.c.lines.like('%", "error", "%'))
    for row in await db.read(asked.order_by(log_chunks.c.first).limit(_LOOKED)):
        for number, (_, _, level, _) in enumerate(json.loads(row.lines), row.first):
            if level == "error":
                return number
    return None


_LOOKED = 20
"""Chunks that seem to have an error; a text may only look as if."""
CHUNKS = 64
"""Chunks one look may return: at most 4 MB of lines."""
PARTS = 16
"""Blobs of moved lines one look may open: as much again."""


async def read(
    db: Database,
    account_id: str,
    execution_id: str,
    *,
    after: int = 0,
    enough: int | None = None,
    blobs: Blobs | None = None,
) -> list[Line]:
    """Lines after a number, in order, from the next chunks, no more of them than have `enough` lines; an empty list
    says there are no more. Without `blobs` none may have been moved. Unavailable where the lines can't be reached."""
    more = log_chunks.c.first + log_chunks.c["count"] > after + 1
    rows = await db.read(_chunks(account_id, execution_id).where(more).order_by(log_chunks.c.first).limit(CHUNKS))
    skipped = max(0, after + 1 - rows[0].first) if rows else 0
    some = _some(rows, None if enough is None else enough + skipped)
    return [line for line in _lines(await _whole(blobs, execution_id, some)) if line.number > after]


async def tail(
    db: Database, account_id: str, execution_id: str, count: int, *, blobs: Blobs | None = None
) -> list[Line]:
    """The last lines, in order."""
    last = _chunks(account_id, execution_id).order_by(log_chunks.c.first.desc()).limit(CHUNKS)
    some = _some(await db.read(last), count)
    return _lines(await _whole(blobs, execution_id, some[::-1]))[-count:]


def _some(rows: Sequence[Row[Any]], enough: int | None) -> Sequence[Row[Any]]:
    """The rows from the first on that have so many lines, or as many parts as may be opened."""
    lines = parts = 0
    for number, row in enumerate(rows):
        if parts == PARTS or (enough is not None and lines >= enough):
            return rows[:number]
        lines += row.count_
        parts += row.moved_bytes is not None
    return rows


async def _whole(blobs: Blobs | None, execution_id: str, rows: Sequence[Row[Any]]) -> list[tuple[int, str]]:
    """(number of the first line, lines) of each, wherever they are."""
    return [
        (row.first, row.lines if row.moved_bytes is None else await _moved(blobs, execution_id, row)) for row in rows
    ]


async def _moved(blobs: Blobs | None, execution_id: str, row: Row[Any]) -> str:
    content = await blobs.get(part_of(execution_id, row.first, row.count_)) if blobs else None
    if content is None or len(content) != row.moved_bytes:
        raise Missing(
            "log_part_gone",
            f"Lines {row.first} to {row.first + row.count_ - 1} of this log are not in the object store.",
            "They were moved there. Is [storage] set, and does it name the same bucket and prefix as then?",
        )
    return content.decode()


def last(tx: Tx, account_id: str, execution_id: str, count: int, *, source: str) -> list[str]:
    """The texts of the last lines from one source, in order, inside of a unit: of a few chunks at most."""
    newest = _chunks(account_id, execution_id).order_by(log_chunks.c.first.desc()).limit(4)
    rows = [(row.first, row.lines) for row in reversed(tx.execute(newest).all())]
    return [line.text for line in _lines(rows) if line.source == source][-count:]


def _chunks(account_id: str, execution_id: str) -> sa.Select[Any]:
    mine = (log_chunks.c.account_id == account_id) & (log_chunks.c.execution_id == execution_id)
    its = log_chunks.c
    return sa.select(its.first, its["count"].label("count_"), its.lines, its.moved_bytes).where(mine)


def _lines(chunks: Sequence[tuple[int, str]]) -> list[Line]:
    return [
        Line(number=first + offset, at=at, source=source, level=level, text=text)
        for first, lines in chunks
        for offset, (at, source, level, text) in enumerate(json.loads(lines))
    ]
