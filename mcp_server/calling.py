"""The handler of tools/call: which form the wire gives to a wait. The row is the truth; each form is a view of it.

A client that knows tasks gets one; one that hears progress, or speaks the older wire, waits on its stream. What is left
is a client of 2026-07-28 that hears nothing but can show a page: it is given the address of the approval, which carries
no capability (deciding there needs a sign-in), and calls again.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio
import sqlalchemy as sa
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolRequestParams

from control.tables import approvals
from kit.db import Database
from mcp_server import answers
from mcp_server.answers import COMPLETE, Result
from mcp_server.asked import Asked
from mcp_server.calls import Calls
from mcp_server.catalog import Catalog
from mcp_server.hearing import Context, Hearing, exchange_of, is_older
from mcp_server.manner import Manner, Message
from mcp_server.resume import Trail
from mcp_server.tasks import HOLD_S, Tasks, declared, lacking, only_task
from mcp_server.upstream.upstream import PROTOCOL_ERROR

PRIMED = "2025-11-25"
"""From this revision on a client reads an event without data: it makes a stream resumable before anything is said."""
PAGE = "preloop-approval"
"""The name of our own question among those a result asks."""
AGAIN_S = 20.0
"""How long a client that has been given the page waits in each further round."""
LOOK = "A person must approve this call. Sign in here to see what is asked; then the call goes on."


class Calling:
    """Shares `levels`, the log levels of sessions of the older wire. People reach us at `url`, '' when nowhere."""

    def __init__(
        self, db: Database, calls: Calls, catalog: Catalog, tasks: Tasks, levels: dict[str, str], url: str
    ) -> None:
        self._db = db
        self._calls = calls
        self._catalog = catalog
        self._tasks = tasks
        self._levels = levels
        self._url = url

    async def call(self, ctx: Context, params: CallToolRequestParams) -> Message:
        exchange = exchange_of(ctx)
        hearing = Hearing(ctx, self._levels)
        manner = replace(hearing.manner(), tasks=declared(ctx))
        await self._needs_tasks(ctx, params.name, manner)
        form = _Form(ctx, manner, hearing, pages=bool(self._url))
        asked = Asked(
            principal=exchange.principal,
            name=params.name,
            arguments=params.arguments or {},
            fault=exchange.fault,
            report=form.report,
            admitted=exchange.admitted,
            attached=form.attached,
            manner=form.manner,
        )
        with exchange.handling(), form.hold:
            answer = await self._calls.call(asked, exchange.begun)
            if exchange.over:
                await self._calls.parting.over(answer, delivered=False)
            exchange.answer = answer
            return COMPLETE | _told(answer.result, older=is_older(ctx))
        if exchange.over:
            return COMPLETE | answers.error("Nobody listens any more.")  # and nobody reads this
        return await (self._tasks.created(form.call_id) if manner.tasks else self._page(form.call_id))

    async def _needs_tasks(self, ctx: Context, name: str, manner: Manner) -> None:
        """Refuse a tool that says it can only be a task to a client of 2026-07-28 that knows none."""
        if manner.tasks or manner.older:
            return
        offer = (await self._catalog.offers(exchange_of(ctx).principal)).get(name)
        if offer and only_task(offer.definition.raw):
            raise lacking()

    async def _page(self, call_id: str) -> Message:
        """Where a person can look at what is asked."""
        rows = await self._db.read(sa.select(approvals.c.id).where(approvals.c.call_id == call_id))
        approval = rows[0].id if rows else ""
        params = {"mode": "url", "message": LOOK, "url": f"{self._url}/approvals/{approval}"}
        return {
            "resultType": "input_required",
            "inputRequests": {PAGE: {"method": "elicitation/create", "params": params}},
        }


class _Form:
    """How long one call is held, and what its client hears while it is."""

    def __init__(self, ctx: Context, manner: Manner, hearing: Hearing, *, pages: bool) -> None:
        self.call_id = ""
        self.hold = anyio.CancelScope()
        self._ctx = ctx
        self._hearing = hearing
        given = manner.rounds.get("inputResponses") or {}
        self._again = PAGE in given
        self.manner = replace(manner, rounds=_without_page(manner.rounds))
        self._shows = pages and _deaf(manner) and "url" in (manner.capabilities.get("elicitation") or {})

    def attached(self, call_id: str) -> None:
        self.call_id = call_id
        if self.manner.tasks:
            self.hold.deadline = anyio.current_time() + HOLD_S
        elif self._shows and self._again:
            self.hold.deadline = anyio.current_time() + AGAIN_S
        if self.manner.older and self._ctx.request_id is not None:
            token = (self._ctx.meta or {}).get("progress_token")
            trail = Trail(call=call_id, request_id=self._ctx.request_id, progress=token)
            exchange_of(self._ctx).follow(trail, primes=self._ctx.protocol_version >= PRIMED)

    async def report(self, message: str, *, waiting: bool) -> None:
        if self.manner.tasks or (self._shows and not self._again and waiting):
            self.hold.cancel()
        elif not self._shows:
            await self._hearing.report(message, waiting=waiting)


def _deaf(manner: Manner) -> bool:
    """Neither a stream that is told anything nor a task: a wait would be silence."""
    return not (manner.older or manner.tasks or manner.progress)


def _without_page(rounds: Mapping[str, Any]) -> dict[str, Any]:
    """What is the upstream's among the answers that a client brings."""
    given = rounds.get("inputResponses") or {}
    if PAGE not in given:
        return dict(rounds)
    others = {name: value for name, value in given.items() if name != PAGE}
    rest = {name: value for name, value in rounds.items() if name != "inputResponses"}
    return rest | ({"inputResponses": others} if others else {})


def _told(result: Result, *, older: bool) -> Result:
    """A result as this wire has it: errors of the protocol are raised, the older one has none that asks for input."""
    error = (result.get("_meta") or {}).get(PROTOCOL_ERROR)
    if isinstance(error, dict):
        raise MCPError(code=error["code"], message=error["message"], data=error["data"])
    if older and result.get("resultType") == "input_required":
        return answers.error("The tool asks for input that this client cannot give.")
    return result
