"""The Tasks extension (SEP-2663): a tool call as something to ask about, for clients of 2026-07-28 that declare it.

A task is a view of the call's row and its id is the row's, so it outlives the connection and the process. A call that
waits for a person, or is not answered soon, becomes one; polling also sends what a person has allowed meanwhile.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from mcp.server import Server
from mcp.shared.exceptions import MCPError
from mcp.shared.inbound import MCP_NAME_HEADER, decode_header_value
from mcp_types import HEADER_MISMATCH, INVALID_PARAMS, MISSING_REQUIRED_CLIENT_CAPABILITY, RequestParams
from sqlalchemy.engine import Row

from control.approvals import endings
from control.executions import toolcalls
from control.executions.toolcalls import Status
from kit.clock import rfc3339
from kit.db import Database, Tx
from kit.errors import Missing
from mcp_server.answers import COMPLETE, Result
from mcp_server.asked import Waiting
from mcp_server.calls import Calls
from mcp_server.hearing import Context, Hearing, exchange_of, is_older
from mcp_server.manner import Message
from mcp_server.upstream.upstream import PROTOCOL_ERROR

EXTENSION = "io.modelcontextprotocol/tasks"
SUPPORT = "preloop/taskSupport"
HOLD_S = 0.5
"""A call that is answered sooner is answered plainly."""
KEPT_MS = 86_400_000
POLL_MS = 1000
CANCELLED = "Cancelled by its caller after it was sent; what it did before is not known."
WITHDRAWN = "Cancelled by its caller before it was sent."


class TaskParams(RequestParams):
    task_id: str


class UpdateParams(TaskParams):
    input_responses: dict[str, Any]


class Tasks:
    """What a client may ask of its tasks."""

    def __init__(self, db: Database, calls: Calls) -> None:
        self._db = db
        self._calls = calls

    def register(self, server: Server[Any]) -> None:
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self._get)
        server.add_request_handler("tasks/update", UpdateParams, self._update)
        server.add_request_handler("tasks/cancel", TaskParams, self._cancel)

    async def created(self, call_id: str) -> Message:
        """The answer to a call that became a task."""
        self._calls.sends.rounds.adopt(call_id)
        row = await toolcalls.look(self._db, call_id)
        return {"resultType": "task"} | _task(row, "working")

    async def _get(self, ctx: Context, params: TaskParams) -> Message:
        row = await self._row(ctx, params)
        exchange = exchange_of(ctx)
        hearing = Hearing(ctx, {})
        waiting = Waiting(
            principal=exchange.principal, report=hearing.report, admitted=exchange.admitted, manner=hearing.manner()
        )
        row, exchange.answer = await self._calls.state(waiting, row.id)
        if exchange.answer is not None:
            return COMPLETE | _ended(row, exchange.answer.result)
        self._calls.sends.rounds.adopt(row.id)
        if questions := self._calls.sends.rounds.open(row.id):
            return COMPLETE | _task(row, "input_required") | {"inputRequests": questions}
        return COMPLETE | _task(row, "working")

    async def _update(self, ctx: Context, params: UpdateParams) -> Message:
        row = await self._row(ctx, params)
        self._calls.sends.rounds.answer(row.id, params.input_responses)
        return COMPLETE

    async def _cancel(self, ctx: Context, params: TaskParams) -> Message:
        row = await self._row(ctx, params)
        self._calls.sends.cancel(row.id)
        await self._db.write(_cancelling(row.id))
        return COMPLETE

    async def _row(self, ctx: Context, params: TaskParams) -> Row[Any]:
        """The call a client means, after the checks that all three methods share."""
        if is_older(ctx) or not declared(ctx):
            raise lacking()
        named = ctx.request.headers.get(MCP_NAME_HEADER) if ctx.request is not None else None
        if named is None or decode_header_value(named) != params.task_id:
            raise MCPError(code=HEADER_MISMATCH, message="The Mcp-Name header is not the task's id.")
        try:
            return await self._calls.find(exchange_of(ctx).principal, params.task_id)
        except Missing as error:
            raise MCPError(code=INVALID_PARAMS, message="There is no such task.") from error


def declared(ctx: Context) -> bool:
    """Did the client declare the extension with this request?"""
    capabilities = ctx.session.client_capabilities
    return not is_older(ctx) and capabilities is not None and EXTENSION in (capabilities.extensions or {})


def only_task(tool: Mapping[str, Any]) -> bool:
    """Does this tool say that it can only be a task? `execution` is how 2025-11-25 has it, `_meta` is our own word."""
    said = (tool.get("execution") or {}).get("taskSupport"), (tool.get("_meta") or {}).get(SUPPORT)
    return "required" in said


def lacking() -> MCPError:
    return MCPError(
        code=MISSING_REQUIRED_CLIENT_CAPABILITY,
        message="This needs a client that knows tasks.",
        data={"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
    )


def _cancelling(call_id: str) -> Callable[[Tx], None]:
    """A call that was not sent is withdrawn; of one that was, nobody knows. One that ended stays as it is."""

    def cancel(tx: Tx) -> None:
        if not endings.recall(tx, call_id, WITHDRAWN):
            toolcalls.give_up(tx, call_id, at_once=True, error=CANCELLED)

    return cancel


def _ended(row: Row[Any], result: Result) -> Message:
    if row.status == Status.WITHDRAWN or (row.status == Status.UNKNOWN and row.error == CANCELLED):
        return _task(row, "cancelled")
    if error := (result.get("_meta") or {}).get(PROTOCOL_ERROR):
        return _task(row, "failed") | {"error": {name: value for name, value in error.items() if value is not None}}
    return _task(row, "completed") | {"result": COMPLETE | result}


def _task(row: Row[Any], status: str) -> Message:
    """What every view of a task says."""
    latest: datetime = row.settled_at or row.sent_at or row.asked_at
    told = {"statusMessage": "A person is asked."} if row.status == Status.WAITING else {}
    return told | {
        "taskId": row.id,
        "status": status,
        "createdAt": rfc3339(row.asked_at),
        "lastUpdatedAt": rfc3339(latest),
        "ttlMs": KEPT_MS,
        "pollIntervalMs": POLL_MS,
    }
