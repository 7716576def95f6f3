"""One tool call, from what the agent sent to what it reads: check, decide, attach to the durable row, wait, send once.

The row is the truth: a handler only watches it, so a client that leaves and comes back, or a second process, continues
where the first stopped. Sending happens in a task of its own and is settled whether or not anybody still listens.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Row

from control import events
from control.approvals import policy, requests, rules
from control.approvals.desk import Desk
from control.executions import logs, suggestions, toolcalls
from control.executions.toolcalls import Call, Status
from control.identity import sessions
from control.identity.principals import Principal
from control.tables import approvals, tool_calls
from kit import canonical, masking
from kit.bus import Bus
from kit.db import Database, Tx
from kit.errors import Fault, Invalid, Missing, Unauthorized
from kit.metrics import Counter
from mcp_server import answers, aside, facts, schema
from mcp_server.answers import Result
from mcp_server.asked import Answer, Asked, Begun, Waiting
from mcp_server.catalog import Catalog, Offer
from mcp_server.lookout import Lookout
from mcp_server.manner import Message
from mcp_server.parting import Parting
from mcp_server.sends import Sends

REPORT_S = 10.0
"""A waiting client hears of it this often."""
FIRST_S = 1.0
"""The first time, where nobody is asked: its stream can be taken up again from then on."""
LATE_S = 0.1
"""After the time a call that was sent has for its answer, until we look whether it is lost."""
DRAIN = "mcp:drain"
HOLDS = Counter("preloop_holds_total", "Waits for a person of which the agent was told, by the wire's form.", "form")


class Calls:
    """The tool calls of one process."""

    def __init__(self, db: Database, bus: Bus, desk: Desk, catalog: Catalog) -> None:
        self._db = db
        self._bus = bus
        self._desk = desk
        self._catalog = catalog
        self._draining = False
        self._lookout = Lookout(db, bus)
        self.sends = Sends(db, desk, catalog, self._lookout)
        self.parting = Parting(db)

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        """Calls can be sent inside of this. On the way out waiters are told, and sends get a moment to finish."""
        async with anyio.create_task_group() as looking:
            looking.start_soon(self._lookout.run)
            async with self.sends.run():
                try:
                    yield
                finally:
                    self.drain()
            looking.cancel_scope.cancel()

    def drain(self) -> None:
        """Answer everybody who waits: call again. Safe to repeat."""
        self._draining = True
        self.sends.drain()
        self._bus.publish(DRAIN)

    async def call(self, asked: Asked, begun: Begun | None = None) -> Answer:
        """The answer, after however long it takes. What the agent did wrong is a result, not an exception. A call that
        has `begun` is taken up where it stands."""
        begun = begun or await self.begin(asked)
        if begun.failed is not None:
            raise begun.failed
        if begun.answer is not None:
            return begun.answer
        asked.attached(begun.call_id)
        return await self._follow(asked, begun)

    async def begin(self, asked: Asked) -> Begun:
        """Check, decide, attach: what nobody must be asked about is on its way upstream then."""
        offer = (await self._catalog.offers(asked.principal)).get(asked.name)
        if offer is None:
            return Begun(answer=await self._refuse(asked, "tool_not_allowed", self._unlisted(asked)))
        try:
            call = await _read(offer, asked)
        except Invalid as error:
            text = answers.failed(asked.name, error.message)
            return Begun(answer=await self._refuse(asked, "invalid_arguments", text))
        key = (asked.principal.session_id, call.server, call.tool, call.digest)
        await self.parting.past(key)
        try:
            call_id, sent = await self._attach(asked, offer, call)
        except Fault as fault:
            return Begun(answer=Answer(result=answers.error(f"{fault.message} {fault.hint}".strip())))
        return Begun(call_id=call_id, key=key, row=sent)

    async def find(self, principal: Principal, call_id: str) -> Row[Any]:
        """A call that this session made, perhaps of another process; Missing when there is none."""
        mine = (tool_calls.c.id == call_id) & (tool_calls.c.session_id == principal.session_id)
        rows = await self._db.read(sa.select(tool_calls).where(mine, tool_calls.c.account_id == principal.account_id))
        if not rows:
            raise Missing("call_unknown", "This session made no such call.", "Call the tool again.")
        return rows[0]

    async def resume(self, waiting: Waiting, row: Row[Any]) -> Answer:
        """Go on waiting for a call that `find` found."""
        key = (row.session_id, row.server, row.tool, row.digest)
        return await self._follow(waiting, Begun(call_id=row.id, key=key))

    async def state(self, waiting: Waiting, call_id: str) -> tuple[Row[Any], Answer | None]:
        """How a call of this session stands, for somebody who does not wait; what may be sent is sent."""
        self.sends.polled(call_id)
        row = await toolcalls.look(self._db, call_id)
        if row.status == Status.READY:
            await self._catalog.reread(row.server)
            mine = await self._db.write(lambda tx: self.sends.claim(tx, waiting.principal, call_id))
            if mine is not None:
                self.sends.start(mine, waiting.manner)
        result = answers.of(row._asdict())
        key = (row.session_id, row.server, row.tool, row.digest)
        return row, self._final(row, result, key) if result is not None else None

    def _unlisted(self, asked: Asked) -> str:
        """The page's sentence; only where the tool waits for an admin, or the list itself is missing, that."""
        if held := self._catalog.held(asked.principal, asked.name):
            return held
        for upstream in self._catalog.unseen(asked.principal):
            if policy.matching(asked.principal.charter.tools, upstream.name, asked.name):
                return answers.not_reached(asked.name, upstream.name, upstream.trouble)
        return policy.not_listed(asked.name[:200])

    async def _refuse(self, asked: Asked, code: str, text: str) -> Answer:
        """Nothing was asked of anybody and no upstream was touched: an event, a line in the log, the sentence with its
        receipt."""
        who = asked.principal

        def refuse(tx: Tx) -> dict[str, Any]:
            events.append(tx, who.account_id, who.stream, "tool.refused", tool=asked.name[:200], code=code, text=text)
            seq, hash_ = events.head(tx, who.account_id, who.stream)
            logs.story(tx, who.account_id, who.execution_id, "error", answers.shorten(text))
            logs.story(tx, who.account_id, who.execution_id, "info", f"Fix: {suggestions.for_refusal(text)}")
            return {"stream": who.stream, "seq": seq, "hash": hash_}

        receipt = await self._db.write(refuse)
        return Answer(result=answers.error(text) | {"_meta": {answers.RECEIPT: receipt}})

    async def _attach(self, asked: Asked, offer: Offer, call: Call) -> tuple[str, Row[Any] | None]:
        """Decide, and find or make the durable row; what nobody must be asked about is sent at once, then here is its
        row."""
        who = asked.principal
        arguments = json.loads(call.args)
        gathered = await facts.gather(self._db, who, offer.grants, arguments)
        decided = policy.decide(offer.grants, gathered, rules.evaluate)
        shown = masking.masked({key: arguments[key] for key in asked.arguments if key in arguments})
        told = json.dumps(shown, ensure_ascii=False)

        def attach(tx: Tx) -> tuple[str, Row[Any] | None]:
            seen = facts.exact(tx, who, gathered)
            verdict = decided if seen is gathered else policy.decide(offer.grants, seen, rules.evaluate)
            if who.execution_id and toolcalls.reattach(tx, who, call) is None:
                lines = (f"Tool: {call.name}", f"Arguments: {answers.shorten(told)}")
                logs.story(tx, who.account_id, who.execution_id, "info", *lines)
                if isinstance(verdict, policy.Deny):
                    logs.story(tx, who.account_id, who.execution_id, "error", f"Refused: {verdict.rule}")
            if isinstance(verdict, policy.Allow):
                row = self.sends.begin(tx, who, call, rule=verdict.rule, context=json.dumps(seen, default=str))
                if row is not None:
                    return row.id, row
            call_id = self._desk.attach(tx, who, call, verdict, context=seen)
            return call_id, self.sends.claim(tx, who, call_id) if isinstance(verdict, policy.Allow) else None

        call_id, mine = await self._db.write(attach)
        if mine is not None:
            self.sends.start(mine, asked.manner)
        return call_id, mine

    async def soon(self, waiting: Waiting, begun: Begun, within: float) -> Answer | None:
        """The answer of a call that we send, if it comes within so many seconds and nothing happens before."""
        call_id, session_id = begun.call_id, waiting.principal.session_id
        topics = (toolcalls.topic(call_id), sessions.topic(session_id), DRAIN)
        with self._bus.watch(*topics) as watch:

            async def heard(message: Message) -> Message | None:
                watch.poke()
                await begun.taken.wait()
                return await self.sends.heard(call_id, message)

            with self.sends.follow(call_id, session_id, heard):
                await watch.changed(within)
                row = self.sends.settled(call_id)
        result = answers.of(row._asdict()) if row is not None else None
        return self._final(row, result, begun.key) if row is not None and result is not None else None

    async def _follow(self, waiting: Waiting, begun: Begun) -> Answer:
        """Watch first, then read, then act on what the row says, until it holds an answer."""
        call_id, session_id, row = begun.call_id, waiting.principal.session_id, begun.row
        topics = (toolcalls.topic(call_id), sessions.topic(session_id), DRAIN)
        due: float | None = None
        with self._bus.watch(*topics) as watch, self.sends.follow(call_id, session_id, waiting.manner.heard):
            begun.taken.set()
            while True:
                row = row or self.sends.settled(call_id) or await toolcalls.look(self._db, call_id)
                self._lookout.note(call_id, row.status)
                if (result := answers.of(row._asdict())) is not None:
                    return self._final(row, result, begun.key)
                if (text := await self._hindrance(waiting, row)) is not None:
                    return Answer(result=answers.error(text))
                if row.status == Status.READY:
                    await self._catalog.reread(row.server)
                    row = await self._db.write(lambda tx: self.sends.claim(tx, waiting.principal, call_id))
                    if row is not None:
                        self.sends.start(row, waiting.manner)
                    elif await self._still_ready(call_id):
                        return Answer(result=answers.error(answers.OVER))
                    continue
                now = anyio.current_time()
                first = due is None
                if due is None:
                    due = now if row.status == Status.WAITING else begun.since + FIRST_S
                if now >= due:
                    due = now + REPORT_S
                    await waiting.report(await self._standing(row), waiting=row.status == Status.WAITING)
                if first and row.status == Status.WAITING:
                    HOLDS.add(waiting.manner.form)
                await watch.changed(_patience(row, due - anyio.current_time()))
                row = None

    def _final(self, row: Row[Any], result: Result, key: tuple[str, ...]) -> Answer:
        if row.status == Status.UNKNOWN:  # stays undelivered: whoever asks again must hear it again
            return Answer(result=result)
        self.parting.expect(key)
        return Answer(result=result, row=row.id, key=key)

    async def _hindrance(self, waiting: Waiting, row: Row[Any]) -> str | None:
        """Why an open call can't be waited for any longer, in the agent's words."""
        if self._draining:
            return answers.RESTARTING
        try:
            await waiting.admitted()
        except Unauthorized:
            return answers.OVER
        if row.status != Status.SENT:
            return None
        if row.send_until < datetime.now(UTC):
            await self._db.write(lambda tx: toolcalls.give_up(tx, row.id))
            return answers.unknown(row.name)
        return None

    async def _still_ready(self, call_id: str) -> bool:
        return bool((await toolcalls.look(self._db, call_id)).status == Status.READY)

    async def _standing(self, row: Row[Any]) -> str:
        """What a waiting client is told."""
        if row.status != Status.WAITING:
            return f"Tool '{row.name}' is running."
        found = await self._db.read(sa.select(approvals).where(approvals.c.call_id == row.id))
        if not found:
            return "Waiting for approval."
        names = ", ".join(member.name for member in requests.asked(self._desk.directory, found[0]))
        return f"Waiting for approval by {names} until {found[0].expires_at:%H:%M:%S} UTC."


def _patience(row: Row[Any], left_s: float) -> float:
    """Seconds until something is to be done for a waiter, woken or not."""
    if row.send_until is not None:
        left_s = min(left_s, (row.send_until - datetime.now(UTC)).total_seconds() + LATE_S)
    return max(left_s, 0.0)


async def _read(offer: Offer, asked: Asked) -> Call:
    """The call an agent means, or Invalid in words it can act on. Nobody is asked before this has passed."""
    if asked.fault is not None:
        raise asked.fault
    arguments, why = schema.part(offer.definition, offer.grants, asked.arguments)
    if wrong := await aside.complaints(offer.definition, arguments):
        raise Invalid("invalid_arguments", wrong)
    return Call(
        server=offer.definition.server,
        tool=offer.definition.tool,
        name=offer.name,
        args=canonical.dumps(arguments),
        digest=canonical.digest(arguments),
        definition_digest=offer.definition.digest,
        justification=why,
    )
