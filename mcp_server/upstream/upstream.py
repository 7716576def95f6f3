"""One tool server: a long-lived connection that is supervised and made again, its tools, and calls to them.

A call ends in one of three values, and the difference matters: `Answered`, `NotSent` (it cannot have happened) and
`Lost` (it was sent and nobody knows). Results are passed on as they came. Who may call what is not known here, nor
which definitions are accepted: whoever is told by `learned` decides.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from anyio.abc import TaskStatus
from mcp.client.session import IncomingMessage
from mcp.shared.exceptions import MCPError
from mcp_types import MISSING_REQUIRED_CLIENT_CAPABILITY, REQUEST_TIMEOUT, ToolListChangedNotification

from kit.metrics import Histogram
from kit.observe import log
from mcp_server import answers
from mcp_server.aside import Reader
from mcp_server.manner import PLAIN, Manner, Message, asks
from mcp_server.schema import Definition, Unusable
from mcp_server.settings import UpstreamServer
from mcp_server.upstream.line import OPEN_S, Dialler, Line, result_of
from mcp_server.upstream.post import Broken

RETRY_S = (0.2, 5.0)
"""The first and the longest pause before an upstream is dialled again, or its program started."""
STEADY_S = 10.0
"""A connection that held this long was a good one: the next pause is the first again."""
BACK_S = 2.0
"""How long a call waits for an upstream that is being dialled."""
FIRST_S = OPEN_S
"""After the start, how long a listing waits for a tool server nobody has seen: a list that lacks it is believed."""
PROTOCOL_ERROR = "preloop/error"
"""In `_meta` of a result: it was a JSON-RPC error and goes to the client as one."""
RELIST_S = 30.0
"""How old our list of its tools may be; an upstream that announces a change is asked at once."""
LATENCY = Histogram("preloop_upstream_seconds", "Calls of tool servers, by how they ended.", "server", "outcome")

Learned = Callable[[Sequence[Definition], Sequence[Unusable]], Awaitable[None]]


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


class Upstream:
    """A tool server by its name in the settings. `run` must be running for it to be reachable."""

    def __init__(self, name: str, settings: UpstreamServer, learned: Learned | None = None) -> None:
        self.name = name
        self.settings = settings
        self.timeout_s = settings.timeout
        self.definitions: Mapping[str, Definition] | None = None  # None: never seen
        self.unusable: Mapping[str, Unusable] = {}
        self.generation = 0
        self.trouble = "it was never reached"
        self._learned = learned
        self._reader = Reader(name)
        self._judged = False
        self._line: Line | None = None
        self._dialler: Dialler | None = None
        self._changed = anyio.Event()
        self._stale = anyio.Event()
        self._expected_until = 0.0
        self._reading = anyio.Lock()
        self._read_at = 0.0

    async def run(self) -> None:
        """Stay connected until cancelled."""
        pause = RETRY_S[0]
        self._expected_until = anyio.current_time() + FIRST_S
        async with Dialler(self.name, self.settings) as dialler, anyio.create_task_group() as lines:
            self._dialler = dialler
            while True:
                since = anyio.current_time()
                try:
                    line: Line = await lines.start(self._hold, dialler)
                    await self._watch(line)
                    self._drop(line)
                except Exception as error:
                    self.trouble = _reason(error)
                    log.warning("tool server not reached", server=self.name, reason=self.trouble)
                if anyio.current_time() - since > STEADY_S:
                    pause = RETRY_S[0]
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

    async def call(
        self, tool: str, arguments: Mapping[str, Any], manner: Manner = PLAIN, *, token: str = "call", digest: str = ""
    ) -> Outcome:
        """Call a tool once, if it still is what `digest` says. Only a call that cannot have been sent is tried a second
        time, on a new connection. `token` names its progress."""
        params = {"name": tool, "arguments": arguments, **manner.rounds}
        if meta := manner.meta(token):
            params["_meta"] = meta
        outcome: Outcome = NotSent(reason=self.trouble)
        for _ in range(2):
            if not await self.ready(BACK_S):
                return NotSent(reason=self.trouble)
            now = (self.definitions or {}).get(tool)
            if digest and (now is None or now.digest != digest):
                return NotSent(reason="the tool changed just now")
            began = anyio.current_time()
            outcome = await self._call(tool, params, manner)
            LATENCY.observe(anyio.current_time() - began, self.name, type(outcome).__name__.lower())
            if not isinstance(outcome, NotSent):
                break
        return outcome

    async def ask(self, method: str, params: Message, *, within: float, manner: Manner = PLAIN) -> Message:
        """Any other request. The raw result; MCPError is the upstream's refusal, Broken that there was no answer,
        TimeoutError that it took longer than `within` seconds."""
        if not await self.ready(BACK_S) or self._line is None:
            raise Broken(self.trouble, sent=False)
        offered = manner.offered(self.settings.may_ask)
        return await self._line.ask(
            method, {**params, **manner.rounds}, within=within, heard=manner.heard, offered=offered
        )

    def timeout_of(self, tool: str) -> float:
        """Seconds one call of this tool may take."""
        return self.settings.timeout_of(tool)

    async def _call(self, tool: str, params: Message, manner: Manner) -> Outcome:
        line = self._line
        if line is None:
            return NotSent(reason=self.trouble)
        within = self.timeout_of(tool)
        try:
            result = await self._asked(line, params, manner, within)
        except TimeoutError:
            return Lost(reason=f"no answer within {within:g} s")
        except Broken as error:
            self._drop(line, error.reason)
            return Lost(reason=error.reason) if error.sent else NotSent(reason=error.reason)
        except MCPError as error:
            if error.code == REQUEST_TIMEOUT:
                return Lost(reason=f"no answer within {within:g} s")
            return Answered(result=_refused(error, manner))
        if not answers.is_result(result):
            return Answered(result=answers.error("the tool server answered with something that is no tool result"))
        return Answered(result=result)

    async def _asked(self, line: Line, params: Message, manner: Manner, within: float) -> Message:
        """On the shared connection, or on one of its own where the client can be asked back in mid-call."""
        offered = manner.offered(self.settings.may_ask)

        async def heard(message: Message) -> Message | None:
            return await manner.heard(message) if manner.heard and asks(message, offered) else None

        if manner.older and offered and self._dialler is not None:
            async with self._dialler.private(offered) as post:
                if post is not None:
                    with anyio.fail_after(within):
                        return result_of(await post.ask("tools/call", params, headers={}, heard=heard))
        return await line.ask("tools/call", params, within=within, heard=heard, offered=offered)

    def _drop(self, line: Line, reason: str = "") -> None:
        line.fail(reason)
        self.trouble = line.why or self.trouble
        if self._line is line:
            self._line = None

    async def _hold(self, dialler: Dialler, *, task_status: TaskStatus[Line]) -> None:
        """Open a connection, publish it and its tools, and keep it until it breaks and its calls are over."""
        line: Line | None = None
        try:
            async with dialler.dial(self._announced) as opened:
                await self._learn(await opened.tools())
                line = self._line = opened
                self._changed.set()
                self._changed = anyio.Event()
                task_status.started(line)
                await line.broken.wait()
                if line.calls:
                    await line.idle.wait()
        except Exception as error:
            if line is None:
                raise
            self._drop(line, _reason(error))
            log.warning("tool server lost", server=self.name, reason=self.trouble)

    async def reread(self) -> None:
        """Learn what its tools are now. All who ask while a reading is under way share the next one."""
        asked = anyio.current_time()
        async with self._reading:
            line, begun = self._line, anyio.current_time()
            if line is None or self._read_at > asked:
                return
            try:
                await self._learn(await line.tools())
                self._read_at = begun
            except Exception as error:  # what can't be read again is dialled again, and read then
                self._drop(line, _reason(error))

    def look_again(self) -> None:
        """Its tools may have changed."""
        self._stale.set()

    def _announced(self, message: IncomingMessage) -> None:
        if isinstance(message, ToolListChangedNotification):
            self._stale.set()

    async def _watch(self, line: Line) -> None:
        """Until the line breaks: look again at what the tools are, when it says so and every now and then."""
        while not line.broken.is_set():
            with anyio.move_on_after(RELIST_S):
                await _either(line.broken, self._stale)
            self._stale = anyio.Event()
            if not line.broken.is_set():
                await self.reread()

    async def _learn(self, raws: list[dict[str, Any]]) -> None:
        """Keep what can be checked; a tool that cannot is left out, and why is kept."""
        learned, left_out = await self._reader.read(raws)
        for tool in left_out.keys() - self.unusable.keys():
            log.warning("tool left out", server=self.name, tool=tool, reason=left_out[tool].reason)
        before = self.definitions
        same = before is not None and {d.digest for d in learned.values()} == {d.digest for d in before.values()}
        if not same or not self._judged or left_out != self.unusable:
            self._judged = False
            if before is not None:  # what changed is not served while it is judged
                self._publish(learned)
            if self._learned is not None:
                await self._learned(list(learned.values()), list(left_out.values()))
            self._publish(learned)
            self._judged = True
        self.unusable = left_out

    def _publish(self, learned: Mapping[str, Definition]) -> None:
        self.generation += 1
        self.definitions = learned


async def _either(*events: anyio.Event) -> None:
    """Wait for whichever comes first."""
    async with anyio.create_task_group() as waiting:

        async def wait(event: anyio.Event) -> None:
            await event.wait()
            waiting.cancel_scope.cancel()

        for event in events:
            waiting.start_soon(wait, event)


def _refused(error: MCPError, manner: Manner) -> dict[str, Any]:
    """An upstream's protocol error as a result that a model can read. What its client must act on itself (a missing
    capability, a state that was tampered with) is kept beside it."""
    result = answers.error(error.message)
    if error.code == MISSING_REQUIRED_CLIENT_CAPABILITY or manner.rounds or manner.tasks:
        result["_meta"] = {PROTOCOL_ERROR: {"code": error.code, "message": error.message, "data": error.data}}
    return result


def _reason(error: BaseException) -> str:
    """The innermost message: connecting fails inside task groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
