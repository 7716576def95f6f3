"""One JSON-RPC request to an upstream over HTTP, past the SDK: a call is worth a tenth of a millisecond here.

The promises are those of `wire`: whoever asks learns whether the request can have arrived (`Broken.sent`), no redirect
is followed, no answer is longer than `MAX_ANSWER`; and no answer holds a credential of ours (`veil`). What the upstream
asks of us (sampling, roots, elicitation) is refused unless somebody hears it. An event stream that breaks off is taken
up again where its events are numbered.
"""

import json
from collections.abc import Mapping

import anyio
from mcp_types import METHOD_NOT_FOUND

from kit.connection import Response
from mcp_server.manner import Heard, Message
from mcp_server.upstream.pool import NotConnected, Pool
from mcp_server.upstream.veil import Unreadable, Veil
from mcp_server.upstream.wire import MAX_ANSWER

__all__ = ["Broken", "Heard", "Message", "Post"]
AGAIN = 5
"""How often a broken event stream is taken up again."""
PAUSE_S = 1.0
"""Before that, where the upstream does not say how long."""


class Broken(Exception):
    """No answer. `sent` is False when the upstream cannot have seen the request."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


class Post:
    """Requests of one connection: `headers` carry its session and its revision."""

    def __init__(self, pool: Pool, headers: Mapping[str, str]) -> None:
        self._pool = pool
        self._headers = dict(headers)
        self._last = 0
        self.session_id: str | None = None
        """The session an answer named last."""

    async def ask(
        self, method: str, params: Message, *, headers: Mapping[str, str], heard: Heard | None = None
    ) -> Message:
        """The JSON-RPC answer with its `result` or `error`, or Broken."""
        self._last += 1
        body = {"jsonrpc": "2.0", "id": f"c{self._last}", "method": method, "params": params}
        said = json.dumps(body, ensure_ascii=False).encode()
        try:
            async with self._pool.ask("POST", self._headers | dict(headers), said) as response:
                _judge(response, self._headers)
                self.session_id = response.headers.get("mcp-session-id", self.session_id)
                if response.content_type != "text/event-stream":
                    return _answer(await self._pool.veil.aside(await _whole(response)), response.status)
                stream = _Stream(response, self._pool.veil)
                if (answer := await self._hear(stream, heard)) is not None:
                    return answer
            return await self._resume(stream, heard)
        except NotConnected as error:
            raise Broken(f"no connection ({error})", sent=False) from error
        except Unreadable as error:
            raise Broken(str(error), sent=True) from error
        except ConnectionError as error:
            raise Broken(f"the connection broke ({str(error) or type(error).__name__})", sent=True) from error

    async def tell(self, method: str) -> None:
        """A notification without parameters."""
        await self._send({"jsonrpc": "2.0", "method": method})

    async def _hear(self, stream: "_Stream", heard: Heard | None) -> Message | None:
        """The answer in a stream, or None when it ended before."""
        while (message := await stream.next()) is not None:
            if "method" not in message:
                return message
            said = await heard(message) if heard is not None else None
            if "id" in message:
                await self._reply(message, said)
        return None

    async def _resume(self, stream: "_Stream", heard: Heard | None) -> Message:
        for _ in range(AGAIN):
            if not stream.last_id:
                break
            await anyio.sleep(stream.retry_s)
            again = self._headers | {"last-event-id": stream.last_id}
            async with self._pool.ask("GET", again) as response:
                if response.status != 200 or response.content_type != "text/event-stream":
                    break
                stream.go_on(response)
                if (answer := await self._hear(stream, heard)) is not None:
                    return answer
        raise Broken("its answer broke off", sent=True)

    async def _reply(self, asked: Message, said: Message | None) -> None:
        """Nobody hears it: then an upstream has nothing to ask of us, neither models nor files nor people."""
        refused = {"error": {"code": METHOD_NOT_FOUND, "message": f"{asked['method']} is not offered here"}}
        await self._send({"jsonrpc": "2.0", "id": asked["id"]} | (said or refused))

    async def _send(self, message: Message) -> None:
        """Something that has no answer."""
        body = json.dumps(message).encode()
        async with self._pool.ask("POST", self._headers, body) as response:
            await _whole(response)


class _Stream:
    """Messages out of an event stream, over as many connections as it takes."""

    def __init__(self, response: Response, veil: Veil) -> None:
        self._response = response
        self._veil = veil
        self._read = b""
        self.last_id = ""
        self.retry_s = PAUSE_S

    def go_on(self, response: Response) -> None:
        self._response, self._read = response, b""

    async def next(self) -> Message | None:
        """The next message, None at the end of the connection."""
        data: list[bytes] = []
        while (line := await self._line()).endswith(b"\n"):
            name, _, value = line.rstrip(b"\r\n").partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"id":
                self.last_id = value.decode(errors="replace")
            elif name == b"retry" and value.isdigit():
                self.retry_s = min(int(value) / 1000, 30.0)
            elif not name and not value and any(data):
                return _message(await self._veil.aside(b"\n".join(data)))
            if sum(map(len, data)) > MAX_ANSWER:
                raise _too_long()
        return None

    async def _line(self) -> bytes:
        """With its end; what is left when the connection ends has none."""
        line, end, self._read = self._read.partition(b"\n")
        if end:
            return line + end
        parts, size = [line], len(line)
        while chunk := await self._response.chunk():
            head, end, rest = chunk.partition(b"\n")
            parts.append(head + end)
            size += len(head)
            if size > MAX_ANSWER:
                raise _too_long()
            if end:
                self._read = rest
                break
        return b"".join(parts)


def _judge(response: Response, sent: Mapping[str, str]) -> None:
    """What can be known before the body is read."""
    if 300 <= response.status < 400:
        raise Broken("it redirects, and redirects are not followed", sent=False)
    if response.status == 404 and "mcp-session-id" in sent:
        raise Broken("it forgot our session", sent=False)
    if response.status in (401, 403):
        raise Broken(f"it refused us ({response.status})", sent=False)


async def _whole(response: Response) -> bytes:
    parts, size = [], 0
    while chunk := await response.chunk():
        parts.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER:
            raise _too_long()
    return b"".join(parts)


def _answer(body: bytes, status: int) -> Message:
    try:
        return _message(body)
    except Broken:
        if status >= 400:
            raise Broken(f"it answered {status}", sent=status >= 500) from None
        raise


def _message(body: bytes) -> Message:
    try:
        message = json.loads(body.decode("utf-8-sig"))
    except ValueError as error:
        raise Broken("its answer is not JSON", sent=True) from error
    if not isinstance(message, dict):
        raise Broken("its answer is no JSON-RPC message", sent=True)
    return message


def _too_long() -> Broken:
    return Broken(f"its answer is larger than {MAX_ANSWER // 2**20} MB", sent=True)
