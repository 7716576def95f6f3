"""One JSON-RPC request to an upstream over HTTP, past the SDK: a call is worth a tenth of a millisecond here.

The promises are those of `wire`: whoever asks learns whether the request can have arrived (`Broken.sent`), no redirect
is followed, no answer is longer than `MAX_ANSWER`. What the upstream asks of us (sampling, roots, elicitation) is
refused unless somebody hears it. An event stream that breaks off is taken up again where its events are numbered.
"""

import json
from collections.abc import Mapping

import aiohttp
import anyio
from aiohttp.http_exceptions import LineTooLong
from mcp_types import METHOD_NOT_FOUND

from mcp_server.manner import Heard, Message
from mcp_server.wire import CONNECT_S, CONNECTIONS, IDLE_S, MAX_ANSWER

__all__ = ["Broken", "Heard", "Message", "Post", "http_session"]
AGAIN = 5
"""How often a broken event stream is taken up again."""
PAUSE_S = 1.0
"""Before that, where the upstream does not say how long."""
_BEFORE_SENDING = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)


class Broken(Exception):
    """No answer. `sent` is False when the upstream cannot have seen the request."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.sent = sent


def http_session(headers: Mapping[str, str]) -> aiohttp.ClientSession:
    """The one pool of an upstream. Reading has no limit here: each call brings its own."""
    connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=IDLE_S)
    timeout = aiohttp.ClientTimeout(total=None, connect=CONNECT_S, sock_connect=CONNECT_S)
    plain = {"accept": "application/json, text/event-stream", "accept-encoding": "identity"}
    return aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        headers=plain | {"content-type": "application/json"} | dict(headers),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


class Post:
    """Requests of one connection: `headers` carry its session and its revision."""

    def __init__(self, http: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> None:
        self._http = http
        self._url = url
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
            async with self._http.post(
                self._url, data=said, headers=self._headers | dict(headers), allow_redirects=False
            ) as response:
                _judge(response, self._headers)
                self.session_id = response.headers.get("mcp-session-id", self.session_id)
                if response.content_type != "text/event-stream":
                    return _answer(await _whole(response), response.status)
                stream = _Stream(response)
                if (answer := await self._hear(stream, heard)) is not None:
                    return answer
            return await self._resume(stream, heard)
        except _BEFORE_SENDING as error:
            raise Broken(f"no connection ({str(error) or type(error).__name__})", sent=False) from error
        except aiohttp.ClientError as error:
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
            async with self._http.get(self._url, headers=again, allow_redirects=False) as response:
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
        async with self._http.post(self._url, data=body, headers=self._headers, allow_redirects=False):
            pass


class _Stream:
    """Messages out of an event stream, over as many connections as it takes."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content
        self.last_id = ""
        self.retry_s = PAUSE_S

    def go_on(self, response: aiohttp.ClientResponse) -> None:
        self._content = response.content

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
                return _message(b"\n".join(data))
            if sum(map(len, data)) > MAX_ANSWER:
                raise _too_long()
        return None

    async def _line(self) -> bytes:
        try:
            return await self._content.readuntil(b"\n", max_size=MAX_ANSWER)
        except LineTooLong as error:
            raise _too_long() from error


def _judge(response: aiohttp.ClientResponse, sent: Mapping[str, str]) -> None:
    """What can be known before the body is read."""
    if 300 <= response.status < 400:
        raise Broken("it redirects, and redirects are not followed", sent=False)
    if response.status == 404 and "mcp-session-id" in sent:
        raise Broken("it forgot our session", sent=False)
    if response.status in (401, 403):
        raise Broken(f"it refused us ({response.status})", sent=False)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_ANSWER:
            raise _too_long()
    return bytes(body)


def _answer(body: bytes, status: int) -> Message:
    try:
        return _message(body)
    except Broken:
        if status >= 400:
            raise Broken(f"it answered {status}", sent=status >= 500) from None
        raise


def _message(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise Broken("its answer is not JSON", sent=True) from error
    if not isinstance(message, dict):
        raise Broken("its answer is no JSON-RPC message", sent=True)
    return message


def _too_long() -> Broken:
    return Broken(f"its answer is larger than {MAX_ANSWER // 2**20} MB", sent=True)
