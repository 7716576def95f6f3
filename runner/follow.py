"""An engine's output into the log: chunks of at most 100 ms or 64 KB, the cursor in the same row.

When the database's bulk lane is full, writing waits, then reading waits: nothing is dropped but what there is no room
for (`control/executions/keeping`). Output is read to its end all the same, so that no agent waits for a reader.
"""

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from sqlalchemy.engine import Row

from control.executions import keeping, queue
from control.executions.keeping import Kept, Stored
from kit.db import Database, Lane, Tx
from runner.engine import LogLine

SLICE_S = 0.1
CHUNK_BYTES = 64 * 1024
LOOK_S = 1.0
"""How often a run whose lines are not kept looks whether the plan has room again."""

Sort = Callable[[str], tuple[str, str] | None]
"""A line's (source, level), or None when it is a marker and not to be stored."""


class Follower:
    """Writes one execution's lines, in order, until told that there are no more. `claim` is its row, with the epoch;
    `most` are the bytes that its flow lets its log have."""

    def __init__(self, db: Database, claim: Row[Any], sort: Sort, *, most: int) -> None:
        self._db = db
        self._claim = claim
        self._sort = sort
        self._most = most
        self._look_at = -math.inf
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
        told = [(line, self._sort(line.text)) for line in lines]
        kept = [(line.at, *sorted_, line.text) for line, sorted_ in told if sorted_ is not None]
        if kept and anyio.current_time() >= self._look_at:
            found = await self._db.write(lambda tx: self._keep(tx, kept, lines[-1].cursor), lane=Lane.BULK)
            self._look_at = {Kept.FULL: anyio.current_time() + LOOK_S, Kept.CUT: math.inf}.get(found, -math.inf)

    def _keep(self, tx: Tx, kept: list[Stored], cursor: str) -> Kept:
        """Whoever adopted the execution reads on where we stopped: what we still have is theirs to store."""
        claim = self._claim
        if not queue.held(tx, claim.id, claim.epoch):
            return Kept.ALL
        return keeping.keep(tx, claim.account_id, claim.id, kept, most=self._most, cursor=cursor)
