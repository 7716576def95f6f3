"""Traces out of the record: what a process commits is told to it, read back if need be, and sent as spans.

Nothing waits for it. A unit's events are put into a bounded queue after the commit; a task of its own makes spans of
them. What is lost here (a full queue, a crash) is lost to the traces alone: the record has it.
"""

from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Protocol

import anyio
import anyio.to_thread
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.events import Event, Told
from control.executions import toolcalls
from control.tables import approvals, executions, tool_calls
from control.tables import events as recorded
from kit.db import Database
from kit.db_heard import Heard
from kit.metrics import Counter
from kit.observe import log
from kit.traces import Context, Span
from preloop import spans

WAITING = 4096
"""Events that wait to become spans; beyond that the oldest go."""
KNOWN = 1024
"""Executions whose trace is known without a look."""
LAST_S = 2.0
"""For what is left at the end, and as long again for the collector."""
SPANNED = frozenset(
    {
        "agent.started",
        "approval.closed",
        "execution.claimed",
        "execution.created",
        "execution.ended",
        "model.answered",
        "model.failed",
        "tool.asked",
        "tool.closed",
        "tool.settled",
        "tool.unknown",
    }
)
DROPPED = Counter("preloop_span_sources_dropped_total", "Events that became no span: too many waited, or it broke.")


class Sends(Protocol):
    """Where spans go; `kit/otlp` has the one there is."""

    def keeps(self, context: Context) -> bool: ...

    def send(self, span: Span) -> None: ...

    def close(self, limit_s: float) -> None: ...


class Tracer:
    """Makes the spans of one process."""

    def __init__(self, db: Database, exporter: Sends) -> None:
        self._db = db
        self._exporter = exporter
        self._waiting: deque[Told] = deque()
        self._some = anyio.Event()
        self._first: OrderedDict[tuple[str, str], Event | None] = OrderedDict()

    def tell(self, told: Iterable[Told]) -> None:
        """Take note of events that were committed. Never waits."""
        for one in told:
            if one[1].type in SPANNED:
                if len(self._waiting) >= WAITING:
                    self._waiting.popleft()
                    DROPPED.add()
                self._waiting.append(one)
                self._some.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._some.wait()
            self._some = anyio.Event()
            await self.drain()

    async def drain(self) -> None:
        """Make spans of all that waits."""
        while self._waiting:
            account_id, event = self._waiting.popleft()
            try:
                for span in await self._spans(account_id, event):
                    self._exporter.send(span)
            except anyio.get_cancelled_exc_class():  # its turn comes again: whoever ends us drains what is left
                self._waiting.appendleft((account_id, event))
                raise
            except Exception as error:  # the record has it all the same
                DROPPED.add()
                log.debug("no span was made", type=event.type, stream=event.stream, error=str(error))

    async def _spans(self, account_id: str, event: Event) -> Sequence[Span]:
        first = await self._created(account_id, event.stream)
        about = event.data.get("call") or event.data.get("attempt") or event.data.get("approval") or event.stream
        context = spans.context_of(event.stream, first, str(about))
        if not self._exporter.keeps(context):
            return []
        kind = event.type
        if kind in ("model.answered", "model.failed"):
            return [spans.asked_model(context, event)]
        if kind == "execution.created":
            return [spans.triggered(context, event)]
        if kind == "execution.claimed" and first:
            times = (datetime.fromisoformat(one.at) for one in (first, event))
            return [spans.queued(context, event.stream, *times)]
        if kind in ("agent.started", "execution.ended"):
            return await self._of_run(context, account_id, event)
        return await self._of_call(context, event)

    async def _of_run(self, context: Context, account_id: str, event: Event) -> Sequence[Span]:
        row = await self._row(executions, event.stream)
        if event.type == "agent.started":
            return [spans.set_up(context, row, datetime.fromisoformat(event.at), failed=False)]
        before = None
        if other := row.retry_of or row.reruns:
            before = spans.context_of(other, await self._created(account_id, other), other)
        return spans.ended(context, row, before)

    async def _of_call(self, context: Context, event: Event) -> Sequence[Span]:
        if event.type == "approval.closed":
            row = await self._row(approvals, event.data["approval"])
            if not event.stream.startswith("exe_"):
                context = spans.context_of(event.stream, None, row.call_id)
            return [spans.approved(context, row)]
        if event.type == "tool.asked" and event.data["status"] in toolcalls.OPEN:
            return []
        return spans.called_tool(context, await self._row(tool_calls, event.data["call"]))

    async def _row(self, table: sa.Table, id_: str) -> Row[Any]:
        return (await self._db.read(sa.select(table).where(table.c.id == id_)))[0]

    async def _created(self, account_id: str, stream: str) -> Event | None:
        """The first event of an execution: who made it, and whose trace it is in."""
        if not stream.startswith("exe_"):
            return None
        key = (account_id, stream)
        if key not in self._first:
            its = (recorded.c.account_id == account_id) & (recorded.c.stream == stream) & (recorded.c.seq == 1)
            found = await self._db.read(sa.select(recorded).where(its))
            self._first[key] = events.event_of(found[0]) if found else None
            if len(self._first) > KNOWN:
                self._first.popitem(last=False)
        return self._first[key]


@asynccontextmanager
async def traced(db: Heard, exporter: Sends | None) -> AsyncIterator[None]:
    """Inside of this, what is committed becomes spans; without an exporter nothing is done at all."""
    if exporter is None:
        yield
        return
    tracer, failure = Tracer(db, exporter), None
    db.listen(events.TOLD, tracer.tell)
    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(tracer.run)
            try:
                yield
            except Exception as error:  # as it is, not in a group: whoever waits for a Fault is to get one
                failure = error
            tasks.cancel_scope.cancel()
    finally:
        db.listen(events.TOLD, None)
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(LAST_S):
                await tracer.drain()
            await anyio.to_thread.run_sync(exporter.close, LAST_S)
    if failure is not None:
        raise failure
