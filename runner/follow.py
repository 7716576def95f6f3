"""An engine's output into the log: chunks of at most 100 ms or 64 KB, the cursor in the same row.

When the database's bulk lane is full, writing waits, then reading waits: nothing is dropped but what lies beyond the
quota.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from sqlalchemy.engine import Row

from control.executions import logs, queue
from kit.db import Database, Lane, Tx
from runner.engine import LogLine

SLICE_S = 0.1
CHUNK_BYTES = 64 * 1024
QUOTA_BYTES = 50 << 20
"""`limits.max_log_mb`; lines beyond it are not stored, and the log says so."""

Stored = tuple[str, str, str, str]
Sort = Callable[[str], tuple[str, str] | None]
"""A line's (source, level), or None when it is a marker and not to be stored."""


class Follower:
    """Writes one execution's lines, in order, until told that there are no more. `claim` is its row, with the epoch."""

    def __init__(self, db: Database, claim: Row[Any], sort: Sort) -> None:
        self._db = db
        self._claim = claim
        self._sort = sort
        self._size = 0
        self._send: MemoryObjectSendStream[LogLine]
        self._receive: MemoryObjectReceiveStream[LogLine]
        self._send, self._receive = anyio.create_memory_object_stream[LogLine](1000)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._send.close()
        self._receive.close()

    async def put(self, line: LogLine) -> None:
        await self._send.send(line)

    def close(self) -> None:
        """No more lines; `write` ends when it has stored what came."""
        self._send.close()

    async def write(self) -> None:
        async with self._receive:
            async for first in self._receive:
                await self._store(await self._slice(first))

    async def _slice(self, first: LogLine) -> list[LogLine]:
        lines, size = [first], len(first.text)
        with anyio.move_on_after(SLICE_S):
            while size < CHUNK_BYTES:
                try:
                    line = await self._receive.receive()
                except anyio.EndOfStream:
                    break
                lines.append(line)
                size += len(line.text)
        return lines

    async def _store(self, lines: list[LogLine]) -> None:
        kept: list[Stored] = []
        for line in lines:
            sorted_ = self._sort(line.text)
            if sorted_ is None or self._size > QUOTA_BYTES:
                continue
            kept.append((line.at, *sorted_, line.text))
            self._size += len(line.text)
            if self._size > QUOTA_BYTES:
                kept.append((line.at, "preloop", "warning", "The log reached its quota; further lines are not stored."))
        if kept:
            await self._db.write(lambda tx: self._append(tx, kept, lines[-1].cursor), lane=Lane.BULK)

    def _append(self, tx: Tx, kept: list[Stored], cursor: str) -> None:
        """Whoever adopted the execution reads on where we stopped: what we still have is theirs to store."""
        if queue.held(tx, self._claim.id, self._claim.epoch):
            logs.append(tx, self._claim.account_id, self._claim.id, kept, cursor=cursor)
