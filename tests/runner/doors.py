"""Small real servers that stand where the control plane would: the token door an entry script knocks at."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

TOKEN = "eyJ0.eyJz-dWI_x.c2ln"


@dataclass
class TokenDoor:
    """Answers with `statuses` one after the other, the last one for ever; remembers who knocked."""

    statuses: list[int] = field(default_factory=lambda: [200])
    bearers: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    takes: list[int] = field(default_factory=lambda: [204])
    """What it says to who brings something, likewise."""
    brought: list[tuple[str, bytes]] = field(default_factory=list)
    bringing: Event = field(default_factory=Event)
    holds: Event | None = None
    """Until this is set nobody who brings something is answered."""
    url: str = ""

    def answer(self, path: str, bearer: str) -> int:
        self.bearers.append(bearer)
        if path != "/api/v1/agent/token":
            return 404
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]


def sent(request: BaseHTTPRequestHandler) -> bytes:
    """What was sent, also in chunks, as by who streams."""
    if length := request.headers.get("content-length"):
        return request.rfile.read(int(length))
    pieces = []
    while size := int(request.rfile.readline(), 16):
        pieces.append(request.rfile.read(size))
        request.rfile.readline()
    request.rfile.readline()
    return b"".join(pieces)


@contextmanager
def token_door(host: str = "127.0.0.1") -> Iterator[TokenDoor]:
    door = TokenDoor()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent(self)
            door.keys.append(self.headers.get("idempotency-key", ""))
            status = door.answer(self.path, self.headers.get("authorization", ""))
            body = json.dumps({"token": TOKEN, "expires_at": "2099-01-01T00:00:00Z"} if status == 200 else {})
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def do_PUT(self) -> None:
            door.bearers.append(self.headers.get("authorization", ""))
            door.brought.append((self.path, sent(self)))
            door.bringing.set()
            if door.holds:
                door.holds.wait(60)
            self.send_response(door.takes.pop(0) if len(door.takes) > 1 else door.takes[0])
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer((host, 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    door.url = f"http://{host}:{server.server_port}"
    try:
        yield door
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
