"""One tool server: a long-lived connection that is supervised and dialled again, its tools, and calls to them.

A call ends in one of three values, and the difference matters: `Answered`, `NotSent` (it cannot have happened) and
`Lost` (it was sent and nobody knows). Results are passed on as they came. Who may call what is not known here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
from anyio.abc import TaskStatus
from mcp.client import Client
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CONNECTION_CLOSED,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    Implementation,
    ListToolsRequest,
    PaginatedRequestParams,
)
from pydantic import RootModel, ValidationError

from kit.errors import Invalid
from kit.observe import log
from mcp_server import wire
from mcp_server.schema import Definition, define
from mcp_server.settings import UpstreamServer

OPEN_S = 10.0
"""Each step of connecting and listing the tools."""
RETRY_S = (0.2, 5.0)
"""The first and the longest pause before an upstream is dialled again."""
BACK_S = 2.0
"""How long a call waits for an upstream that is being dialled."""
FIRST_S = 5.0
"""After the start, how long a listing waits for a tool server nobody has seen: a list that lacks it is believed."""
PAGES = 100
US = Implementation(name="preloop", version="1")


class Raw(RootModel[dict[str, Any]]):
    """A result as it came: the SDK checks its shape and takes nothing away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The upstream's own result, `isError` or not, as it came."""

    result: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    reason: str


Outcome = Answered | NotSent | Lost


@dataclass(slots=True, kw_only=True)
class _Line:
    """One connection. A broken one takes no new calls and closes when its last call has ended."""

    session: ClientSession
    calls: int = 0
    broken: anyio.Event = field(default_factory=anyio.Event)
    idle: anyio.Event = field(default_factory=anyio.Event)


class Upstream:
    """A tool server by its name in the settings. `run` must be running for it to be reachable."""

    def __init__(self, name: str, settings: UpstreamServer) -> None:
        self.name = name
        self.timeout_s = settings.timeout
        self.definitions: Mapping[str, Definition] | None = None  # None: never seen
        self.generation = 0
        self.trouble = "it was never reached"
        self._url = str(settings.url)
        self._headers = {key: value.get_secret_value() for key, value in settings.headers.items()}
        self._line: _Line | None = None
        self._changed = anyio.Event()
        self._expected_until = 0.0

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pause = RETRY_S[0]
        self._expected_until = anyio.current_time() + FIRST_S
        async with wire.http_client(self._headers) as http, anyio.create_task_group() as lines:
            while True:
                try:
                    line: _Line = await lines.start(self._hold, http)
                    pause = RETRY_S[0]
                    await line.broken.wait()
                except Exception as error:
                    self.trouble = _reason(error)
                    log.warning("tool server not reached", server=self.name, reason=self.trouble)
                await anyio.sleep(pause)
                pause = min(pause * 2, RETRY_S[1])

    async def ready(self, limit_s: float) -> bool:
        """Wait until it is connected; False when the time passed."""
        with anyio.move_on_after(limit_s):
            while self._line is None:
                await self._changed.wait()
        return self._line is not None

    async def first(self) -> None:
        """Wait for the first connection, but only in the first seconds after the start: later, down is down."""
        await self.ready(self._expected_until - anyio.current_time())

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> Outcome:
        """Call a tool once. Only a call that cannot have been sent is tried a second time, on a new connection."""
        outcome: Outcome = NotSent(reason=self.trouble)
        for _ in range(2):
            if not await self.ready(BACK_S):
                return NotSent(reason=self.trouble)
            outcome = await self._call(tool, arguments)
            if not isinstance(outcome, NotSent):
                break
        return outcome

    async def _call(self, tool: str, arguments: Mapping[str, Any]) -> Outcome:
        line = self._line
        if line is None:
            return NotSent(reason=self.trouble)
        request = CallToolRequest(params=CallToolRequestParams(name=tool, arguments=dict(arguments)))
        line.calls += 1
        try:
            with anyio.fail_after(self.timeout_s):
                answer = await line.session.send_request(request, Raw, request_read_timeout_seconds=self.timeout_s)
                return Answered(result=answer.root)
        except TimeoutError:
            return self._late()
        except MCPError as error:
            return self._failed(line, error)
        except ValidationError:
            return Answered(result=_error("the tool server answered with something that is no tool result"))
        finally:
            line.calls -= 1
            if line.broken.is_set() and not line.calls:
                line.idle.set()

    def _late(self) -> Lost:
        return Lost(reason=f"no answer within {self.timeout_s:g} s")

    def _failed(self, line: _Line, error: MCPError) -> Outcome:
        if error.code == wire.NOT_SENT:
            self._break(line, error.message)
            return NotSent(reason=error.message)
        if error.code == REQUEST_TIMEOUT:
            return self._late()
        if error.code in (wire.LOST, CONNECTION_CLOSED):
            self._break(line, error.message)
            return Lost(reason=error.message)
        return Answered(result=_error(error.message))

    def _break(self, line: _Line, reason: str) -> None:
        self.trouble = reason
        line.broken.set()
        if self._line is line:
            self._line = None

    async def _hold(self, http: httpx2.AsyncClient, *, task_status: TaskStatus[_Line]) -> None:
        """Open a connection, publish it and its tools, and keep it until it breaks and its calls are over."""
        line: _Line | None = None
        try:
            transport = streamable_http_client(self._url, http_client=http, max_sse_event_size=wire.MAX_ANSWER)
            async with Client(transport, client_info=US, cache=None, read_timeout_seconds=OPEN_S) as client:
                self._learn(await _listing(client.session))
                line = self._line = _Line(session=client.session)
                self._changed.set()
                self._changed = anyio.Event()
                task_status.started(line)
                await line.broken.wait()
                if line.calls:
                    await line.idle.wait()
        except Exception as error:
            if line is None:
                raise
            self._break(line, _reason(error))
            log.warning("tool server lost", server=self.name, reason=self.trouble)

    def _learn(self, raws: list[dict[str, Any]]) -> None:
        """Keep what can be checked; a tool that cannot is left out and named in our log."""
        learned = {}
        for raw in raws:
            try:
                definition = define(self.name, raw)
            except Invalid as error:
                log.warning("tool left out", server=self.name, reason=error.message)
                continue
            learned[definition.tool] = definition
        before = self.definitions
        if before is None or {d.digest for d in learned.values()} != {d.digest for d in before.values()}:
            self.generation += 1
            self.definitions = learned


async def _listing(session: ClientSession) -> list[dict[str, Any]]:
    """All pages of tools/list, raw."""
    tools: list[dict[str, Any]] = []
    cursor: str | None = None
    for _ in range(PAGES):
        params = PaginatedRequestParams(cursor=cursor) if cursor else None
        page = (await session.send_request(ListToolsRequest(params=params), Raw)).root
        tools += page["tools"]
        cursor = page.get("nextCursor")
        if not cursor:
            break
    if any("x-mcp-header" in str(tool.get("inputSchema")) for tool in tools):
        await session.list_tools()  # here the client learns which arguments it must mirror into headers
    return tools


def _error(text: str) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": text}], "isError": True}


def _reason(error: BaseException) -> str:
    """The innermost message: connecting fails inside task groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
