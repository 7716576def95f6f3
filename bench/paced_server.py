"""An upstream that streams chat answers at a pace, or as fast as they are taken. Prints where it listens.

The path says how: `/paced/…` sends an event each 50 ms, `/flood/…` many large ones as soon as there is room.
"""

import asyncio
from typing import cast

import uvloop

from bench.model_answers import ENDING, chunk

EVENT_S = 0.05
EVENTS = 100
"""Of one paced stream: five seconds."""
FLOOD_BYTES = 64 * 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


EVENT = _chunked(chunk({"content": "a token "}))
LARGE = _chunked(chunk({"content": "many tokens " * 300}))
END = _chunked(ENDING) + b"0\r\n\r\n"


class Answering(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self) -> None:
        self._read = b""
        self._left = 0
        self._room = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self._read = body[length:]
        self._transport.write(HEAD)
        if b"/flood/" in head.split(b"\r\n")[0]:
            self._left = FLOOD_BYTES
            self._flood()
        else:
            self._pace(EVENTS, self._loop.time())

    def _pace(self, left: int, due: float) -> None:
        """Events are due at fixed times, so that a late one does not delay those behind it."""
        if self._transport.is_closing():
            return
        self._transport.write(EVENT if left else END)
        if left:
            self._loop.call_at(due + EVENT_S, self._pace, left - 1, due + EVENT_S)

    def _flood(self) -> None:
        while self._room and self._left > 0 and not self._transport.is_closing():
            self._transport.write(LARGE)
            self._left -= len(LARGE)

    def pause_writing(self) -> None:
        self._room = False

    def resume_writing(self) -> None:
        self._room = True
        self._flood()


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0, backlog=2048)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
