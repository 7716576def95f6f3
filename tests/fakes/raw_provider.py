"""A provider on a real socket that plays byte for byte what a test wrote, request after request.

A play is a list of steps: bytes are sent, a number is a pause in seconds, an event is waited for, `CUT` drops the
connection where it stands. The last play is played again for whoever comes after.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

CUT = object()
Step = bytes | float | asyncio.Event | object
USAGE = {"prompt_tokens": 120, "completion_tokens": 30, "total_tokens": 150}


@dataclass(kw_only=True)
class Provider:
    """The running server as a test sees it."""

    url: str = ""
    plays: list[list[Step]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    sent: int = 0  # bytes that the other side took
    closed: asyncio.Event = field(default_factory=asyncio.Event)  # a client closed while we played

    @property
    def requests(self) -> list[Any]:
        return [json.loads(body) for body in self.bodies]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await self._read(reader)
                play = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
                if not await self._play(play, reader, writer):
                    break
        writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        self.paths.append(first.split(" ")[1])
        self.headers.append(headers)
        self.bodies.append(await reader.readexactly(int(headers.get("content-length", 0))))

    async def _play(self, play: list[Step], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        left = asyncio.ensure_future(reader.read(1))
        try:
            for step in play:
                if step is CUT:
                    return False
                if not await self._step(step, writer, left):
                    self.closed.set()
                    return False
        finally:
            left.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await left
        return True

    async def _step(self, step: Step, writer: asyncio.StreamWriter, left: "asyncio.Future[bytes]") -> bool:
        """False when the client closed meanwhile."""
        if isinstance(step, bytes):
            writer.write(step)
            waiting: Any = asyncio.ensure_future(writer.drain())
        elif isinstance(step, asyncio.Event):
            waiting = asyncio.ensure_future(step.wait())
        else:
            waiting = asyncio.ensure_future(asyncio.sleep(float(str(step))))  # the play asks for a slow provider
        await asyncio.wait({waiting, left}, return_when=asyncio.FIRST_COMPLETED)
        if left.done():
            waiting.cancel()
            with suppress(asyncio.CancelledError, ConnectionError):
                await waiting
            return False
        self.sent += len(step) if isinstance(step, bytes) else 0
        return True


@asynccontextmanager
async def serve(*plays: list[Step]) -> AsyncIterator[Provider]:
    """The server on a free loopback port, until the context ends."""
    provider = Provider(plays=list(plays))
    serving: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        serving.add(task)
        task.add_done_callback(serving.discard)
        await provider._serve(reader, writer)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.close()
        for task in tuple(serving):
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


def whole(body: bytes, status: int = 200, **headers: str) -> list[Step]:
    """One answer with its length."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{lines}content-length: {len(body)}\r\n\r\n"
    return [head.encode() + body]


def refusal(status: int, sentence: str = "no", **headers: str) -> list[Step]:
    return whole(json.dumps({"error": {"message": sentence}}).encode(), status, **headers)


def stream(steps: Iterable[Step], *, end: bool = True) -> list[Step]:
    """Chunks of an event stream, whole unless it is cut."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [
        head,
        *(chunk(step) if isinstance(step, bytes) else step for step in steps),
        *([b"0\r\n\r\n"] if end else [CUT]),
    ]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def completion(text: str = "Hello there.") -> bytes:
    """A Chat Completions answer, spelled as no encoder of ours would."""
    message = {"role": "assistant", "content": text, "odd_field": 1}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "up-1", "choices": [choice], "usage": USAGE, "x_extra": [1, 2]}, indent=1).encode()


def word(text: str) -> bytes:
    """One chunk event."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps({"id": "up-1", "choices": [choice]}).encode() + b"\n\n"


def ending(*, usage: bool = True) -> list[bytes]:
    """The end of a chunk stream: its reason, its usage, its mark."""
    stop = {"id": "up-1", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = [stop, *([{"id": "up-1", "choices": [], "usage": USAGE}] if usage else [])]
    return [*(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events), b"data: [DONE]\n\n"]
