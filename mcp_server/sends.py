"""Sending a call upstream, once, and recording what came back: in a task of its own, whether or not anybody listens.

Whoever waits in this process gets the settled row from here; everybody else reads it.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup
from sqlalchemy.engine import Row

from control.approvals.desk import Desk
from control.executions import logs, toolcalls
from control.executions.toolcalls import Call
from control.identity.principals import Principal
from kit import masking
from kit.db import Database, Tx
from kit.errors import Fault
from kit.observe import log
from mcp_server import answers
from mcp_server.catalog import Catalog
from mcp_server.lookout import Lookout
from mcp_server.manner import Heard, Manner, Message
from mcp_server.rounds import Rounds
from mcp_server.upstream.upstream import Answered, Lost, NotSent, Outcome

SLACK_S = 15.0
"""Beyond the upstream's own timeout, until a call that was sent counts as lost."""
INPUT_S = 600.0
"""How long a task's tool waits for what it asked its client."""
STARTS = "Executing tool..."
FINISH_S = 3.0
"""What sends that are under way get from the moment on at which we are asked to stop."""


class Sends:
    """The calls that one process has sent and not settled yet."""

    def __init__(self, db: Database, desk: Desk, catalog: Catalog, lookout: Lookout) -> None:
        self._db = db
        self._desk = desk
        self._catalog = catalog
        self._lookout = lookout
        self._tasks: TaskGroup | None = None
        self._until: float | None = None
        self._settled: dict[str, Row[Any]] = {}
        self._hearing: dict[str, Heard] = {}
        self._under_way: dict[str, anyio.CancelScope] = {}
        self.rounds = Rounds()

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Calls can be sent inside of this. On the way out they get a moment to finish."""
        async with anyio.create_task_group() as self._tasks:
            try:
                yield
            finally:
                self.drain()
                self._tasks.cancel_scope.deadline = self._until or 0.0

    def drain(self) -> None:
        """We stop: the time that sends get begins now, beside that of open requests, not after. Safe to repeat."""
        self._until = self._until or anyio.current_time() + FINISH_S

    def claim(self, tx: Tx, principal: Principal, call_id: str) -> Row[Any] | None:
        """Become the one sender: the row as it is then, or None when somebody else is or the run may not act any more.
        Whoever gets a row must `start` it."""
        row = toolcalls.seen(tx, call_id)
        if not self._desk.claim(tx, principal, call_id, within=self._within(row.server, row.tool)):
            return None
        logs.story(tx, row.account_id, row.execution_id, "info", STARTS)
        return toolcalls.seen(tx, call_id)

    def begin(self, tx: Tx, principal: Principal, call: Call, *, rule: str, context: str) -> Row[Any] | None:
        """Record a call that nobody is asked about and become its sender; None, and nothing done, when it is known or
        the run may not act any more. Whoever gets a row must `start` it."""
        within = self._within(call.server, call.tool)
        row = toolcalls.begin(tx, principal, call, rule=rule, context=context, within=within)
        if row is not None:
            logs.story(tx, row.account_id, row.execution_id, "info", STARTS)
        return row

    def _within(self, server: str, tool: str) -> timedelta:
        """How long the answer to a call may take."""
        upstream = self._catalog.upstreams.get(server)
        return timedelta(seconds=(upstream.timeout_of(tool) if upstream else 0) + SLACK_S)

    def start(self, row: Row[Any], manner: Manner) -> None:
        assert self._tasks is not None, "calls are sent inside of run()"
        self._tasks.start_soon(self._carry, row, replace(manner, heard=partial(self.heard, row.id)))

    def attend(self, session_id: str) -> AbstractContextManager[None]:
        """Somebody who waits for no call wants to hear of this session's end inside of this context."""
        return self._lookout.attend(session_id)

    @contextmanager
    def follow(self, call_id: str, session_id: str, heard: Heard | None) -> Iterator[None]:
        """Somebody waits for this call inside of this context, and hears what the upstream says meanwhile; the last
        one to come does."""
        if heard is not None:
            self._hearing[call_id] = heard
        with self._lookout.follow(call_id, session_id):
            try:
                yield
            finally:
                self._settled.pop(call_id, None)
                if self._hearing.get(call_id) == heard:
                    self._hearing.pop(call_id, None)

    async def heard(self, call_id: str, message: Message) -> Message | None:
        """Tell whoever waits for the call what its upstream said, or asks; what they answer."""
        listener = self._hearing.get(call_id)
        return await listener(message) if listener is not None else None

    def followed(self, call_id: str) -> bool:
        """Does anybody wait for this call here?"""
        return self._lookout.follows(call_id)

    def polled(self, call_id: str) -> None:
        """Its caller asks now and then instead of waiting, and did so just now."""
        self._lookout.polled(call_id)

    def settled(self, call_id: str) -> Row[Any] | None:
        """The row of a call that ended here since somebody asked; given once."""
        return self._settled.pop(call_id, None)

    def cancel(self, call_id: str) -> None:
        """Stop a sending that is under way here: its upstream sees the client leave. The row is the caller's."""
        if scope := self._under_way.get(call_id):
            scope.cancel()

    async def _carry(self, row: Row[Any], manner: Manner) -> None:
        """Call the upstream once and settle the row. What is not settled here becomes `unknown` in its time."""
        try:
            with anyio.CancelScope() as self._under_way[row.id]:
                outcome = await self._outcome(row, manner)
                if isinstance(outcome, Lost):
                    await self._lose(row, outcome.reason)
                    return
                ended = await self._db.write(lambda tx: self._settle(tx, row, outcome))
                if self._lookout.follows(row.id):
                    self._settled[row.id] = ended
        except Exception:
            log.exception("tool call not settled", call=row.id, tool=row.tool)
            await self._lose(row, "")
        finally:
            del self._under_way[row.id]
            self.rounds.forget(row.id)

    async def _outcome(self, row: Row[Any], manner: Manner) -> Outcome:
        """What the upstream says in the end: a task's client answers in between what its tool asks."""
        upstream = self._catalog.upstreams.get(row.server)
        if upstream is None:
            return NotSent(reason="it is not configured any more")
        arguments = toolcalls.to_send(row)
        its = {"token": row.id, "digest": row.definition_digest or ""}
        outcome = await upstream.call(row.tool, arguments, manner, **its)
        while isinstance(outcome, Answered) and (asked := self.rounds.ask(row.id, outcome.result)):
            until = timedelta(seconds=INPUT_S + upstream.timeout_of(row.tool) + SLACK_S)
            await self._db.write(lambda tx: toolcalls.prolong(tx, row.id, until))  # noqa: B023 - run at once
            with anyio.move_on_after(INPUT_S) as waited:
                rounds = await asked.answered()
            if waited.cancelled_caught:
                break
            outcome = await upstream.call(row.tool, arguments, replace(manner, rounds=rounds), **its)
        return outcome

    async def _lose(self, row: Row[Any], reason: str) -> None:
        log.warning("tool call lost", call=row.id, server=row.server, tool=row.tool, reason=reason)
        try:
            await self._db.write(lambda tx: toolcalls.give_up(tx, row.id, at_once=True, error=reason or None))
        except Fault as fault:  # then its deadline says so later
            log.warning("a lost call could not be marked", call=row.id, error=fault.message)

    def _settle(self, tx: Tx, row: Row[Any], outcome: Answered | NotSent) -> Row[Any]:
        """Record what came back, and the story's last line; returns the row."""
        if isinstance(outcome, NotSent):
            result, is_error = None, True
            error = text = answers.not_reached(row.name, row.server, outcome.reason)
        else:
            result, is_error = outcome.result, bool(outcome.result.get("isError"))
            error = answers.said(row.tool, result)
            shown = masking.text(error)
            text = f"Tool '{row.name}' failed with error: {shown}" if is_error else f"Tool result: {shown}"
        if self._desk.settle(tx, row.id, result=result, is_error=is_error, error=error if is_error else None):
            logs.story(tx, row.account_id, row.execution_id, "error" if is_error else "info", masking.text(text))
        return toolcalls.seen(tx, row.id, claimed=row)
