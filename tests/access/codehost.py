"""A small code host: git's own `http-backend` behind Basic authentication, with bare repositories in a folder."""

import base64
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from urllib.parse import urlsplit

from access.settings import GitHost

TOKEN = "ghs_credential-of-the-plane"
WHO = {f"GIT_{role}_{part}": "t@example.com" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
ALONE = {"PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", **WHO}


@dataclass
class CodeHost:
    """`asked` are the requests that came, with what they carried; `answers` are sent instead of git's, by path."""

    folder: Path
    url: str = ""
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    stalls: Event = field(default_factory=Event)
    """Set it to let an answer with the header `stalls` go on."""

    def settings(self, **changes: object) -> GitHost:
        return GitHost.model_validate({"url": self.url, "token": TOKEN, "private": True} | changes)

    def make(self, name: str) -> Path:
        """A bare repository `owner/NAME` with one commit on main."""
        bare, work = self.folder / "owner" / f"{name}.git", self.folder / f"{name}-work"
        git("init", "-q", "--bare", "-b", "main", str(bare))
        git("-C", str(bare), "config", "http.receivepack", "true")
        git("-C", str(bare), "config", "receive.advertisePushOptions", "true")
        git("init", "-q", "-b", "main", str(work))
        (work / "README").write_text(f"{name}\n")
        git("-C", str(work), "add", "README")
        git("-C", str(work), "commit", "-q", "-m", "first")
        git("-C", str(work), "push", "-q", str(bare), "main")
        return bare

    def refs(self, name: str) -> dict[str, str]:
        told = git(
            "-C", str(self.folder / "owner" / f"{name}.git"), "for-each-ref", "--format=%(refname) %(objectname)"
        )
        return dict(line.split(" ") for line in told.splitlines())


def git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], env=ALONE, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Handler(BaseHTTPRequestHandler):
    """One connection; `host` is set by `code_host`."""

    protocol_version = "HTTP/1.1"
    host: CodeHost

    def do_GET(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.host.asked.append((self.command, self.path, headers))
        wanted = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
        if self.path in self.host.answers:
            self._answer(*self.host.answers[self.path])
        elif headers.get("authorization") != wanted:
            self._answer(401, {"www-authenticate": "Basic"}, b"who are you")
        else:
            self._answer(*self._backend(body))

    do_POST = do_GET

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        pieces = []
        while size := int(self.rfile.readline() or b"0", 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _backend(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
        parts = urlsplit(self.path)
        env = ALONE | {
            "GIT_PROJECT_ROOT": str(self.host.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": parts.path,
            "QUERY_STRING": parts.query,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            "REMOTE_USER": "plane",
        }
        command = ["git", "http-backend"]
        done = subprocess.run(command, input=body, env=env, capture_output=True, timeout=60, check=False)
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        return int(headers.pop("Status", "200").split(" ")[0]), headers, content

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        stalls = "stalls" in headers
        self.send_header("content-length", str(len(content) + stalls))
        self.end_headers()
        self.wfile.write(content)
        if stalls:
            self.wfile.flush()
            self.host.stalls.wait(30)
            self.wfile.write(b"x")

    def log_message(self, *_args: object) -> None:
        """Quiet."""


class Server(ThreadingHTTPServer):
    def handle_error(self, *_args: object) -> None:
        """A client that went away."""


@contextmanager
def code_host(folder: Path) -> Iterator[CodeHost]:
    host = CodeHost(folder / "host")
    (host.folder / "owner").mkdir(parents=True)
    server = Server(("127.0.0.1", 0), type("Of", (Handler,), {"host": host}))
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield host
    finally:
        host.stalls.set()
        server.shutdown()
        thread.join()
        server.server_close()
