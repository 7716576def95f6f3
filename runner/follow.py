"""An engine's output into the log: chunks of at most 100 ms or 64 KB, the cursor in the same row.

When the database's bulk lane is full, writing waits, then reading waits: nothing is dropped but what there is no room
for (`control/executions/keeping`). Output is read to its end all the same, so that no agent waits for a reader.
"""

import math
from types import TracebackType
from typing import Any

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from sqlalchemy.engine import Row

from control.executions import keeping, logs, queue
from control.executions.keeping import Kept, Stored
from kit.db import Database, Lane, Tx
from runner.narration import Entry

SLICE_S = 0.1
CHUNK_BYTES = 64 * 1024
LOOK_S = 1.0
"""How often a run whose lines are not kept looks whether there is room again, and notes how far it has read."""


class Follower:
    """Writes one execution's lines, in order, until told that there are no more. `claim` is its row, with the epoch;
    `most` are the bytes that its flow lets its log have."""

    def __init__(self, db: Database, claim: Row[Any], *, most: int) -> None:
        self._db = db
        self._claim = claim
        self._most = most
        self._look_at = -math.inf
        self._send: MemoryObjectSendStream[Entry]
        self._receive: MemoryObjectReceiveStream[Entry]
        self._send, self._receive = anyio.create_memory_object_stream[Entry](1000)

    def __enter__(self) -> "Follower":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._send.close()
        self._receive.close()

    async def put(self, entry: Entry) -> None:
        """Waits only where there is no room: a turn of the loop for each line would cost more than all else."""
        try:
            self._send.send_nowait(entry)
        except anyio.WouldBlock:
            await self._send.send(entry)

    def close(self) -> None:
        """No more lines; `write` ends when it has stored what came."""
        self._send.close()

    async def write(self) -> None:
        async with self._receive:
            async for first in self._receive:
                await self._store(await self._slice(first))

    async def _slice(self, first: Entry) -> list[Entry]:
        entries, size = [first], _size(first)
        with anyio.move_on_after(SLICE_S):
            while size < CHUNK_BYTES:
                try:
                    entry = await self._next()
                except anyio.EndOfStream:
                    break
                entries.append(entry)
                size += _size(entry)
        return entries

    async def _next(self) -> Entry:
        try:
            return self._receive.receive_nowait()
        except anyio.WouldBlock:
            return await self._receive.receive()

    async def _store(self, entries: list[Entry]) -> None:
        lines = [line for told, _ in entries for line in told]
        if lines and anyio.current_time() >= self._look_at:
            found = await self._db.write(lambda tx: self._keep(tx, lines, entries[-1][1]), lane=Lane.BULK)
            self._look_at = -math.inf if found is Kept.ALL else anyio.current_time() + LOOK_S

    def _keep(self, tx: Tx, kept: list[Stored], cursor: str) -> Kept:
        """Whoever adopted the execution reads on where we stopped: what we still have is theirs to store."""
        claim = self._claim
        if not queue.held(tx, claim.id, claim.epoch):
            return Kept.ALL
        found = keeping.keep(tx, claim.account_id, claim.id, kept, most=self._most, cursor=cursor)
        if found is not Kept.ALL:
            logs.reached(tx, claim.id, cursor)
        return found


def _size(entry: Entry) -> int:
    return sum(len(line[3]) for line in entry[0])
