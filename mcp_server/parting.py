"""Answers on their way out: that they got through is noted for many at once, and identical calls wait for the note."""

from collections import deque

import anyio

from control.executions import toolcalls
from kit.db import Database, Lane, Tx
from mcp_server.asked import Answer

PART_S = 5.0
"""How long an identical call waits for the delivery of the one before it to be noted."""

Key = tuple[str, ...]


class Parting:
    """The answers of one process that nobody knows yet to have arrived."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._open: dict[Key, anyio.Event] = {}
        self._noting: deque[Answer] = deque()

    def expect(self, key: Key) -> None:
        """An answer of this kind goes out now."""
        if key not in self._open:
            self._open[key] = anyio.Event()

    async def past(self, key: Key) -> None:
        """Wait until no identical answer is on its way."""
        if before := self._open.get(key):
            with anyio.move_on_after(PART_S):
                await before.wait()

    async def over(self, answer: Answer, *, delivered: bool) -> None:
        """The stream that carried it has ended. Whoever is first writes for all who come until the writer is free."""
        if answer.row is None or not delivered:
            self._end(answer)
            return
        self._noting.append(answer)
        if len(self._noting) == 1:
            await self._write()

    async def _write(self) -> None:
        taken: list[Answer] = []

        def note(tx: Tx) -> None:
            while self._noting:
                taken.append(self._noting.popleft())
            for answer in taken:
                toolcalls.delivered(tx, str(answer.row))

        try:
            await self._db.write(note, lane=Lane.LATER)
        except BaseException:
            taken += self._noting
            self._noting.clear()
            raise
        finally:
            for answer in taken:
                self._end(answer)

    def _end(self, answer: Answer) -> None:
        if event := self._open.pop(answer.key, None):
            event.set()
