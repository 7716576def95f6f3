"""The containers' listener with the egress and git doors alone, a database of its own, and sessions to knock with."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from access import left
from access.allowance import Allowance
from access.egress import Egress, open_egress
from access.git import Git, open_git
from access.parts import Parts
from access.settings import EgressSettings, GitHost
from access.token import PATH
from control import events
from control.identity import sessions
from control.identity.accounts import DEFAULT
from control.identity.charter import Charter, GitGrant
from control.identity.doorkeeper import Doorkeeper, Listener
from control.identity.principals import AUDIENCE
from kit import asgi
from kit.blobs import Blobs
from kit.bus import Bus
from kit.db import Database, Tx
from kit.errors import Missing
from kit.outbound import resolved
from kit.tokens import Signer
from preloop.listen import Served, bind, listening, port_of
from tests.databases import connected
from tests.gateway.plane import prepare

HOST = "code.example"
"""A git host of the settings."""
UP = "up.example"
NAMES = {UP: [["127.0.0.1"]]}
HERE: dict[str, Any] = {"settings": {"private_hosts": [UP]}, "names": NAMES}
"""A host that an admin named, at an address that is not public."""


@dataclass
class Names:
    """A resolver: what it was told of names, one answer after the other, the last one for ever."""

    known: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.known:
            raise OSError("no such name")
        answers = self.known[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass(kw_only=True)
class Plane:
    """What a test holds on to."""

    db: Database
    bus: Bus
    signer: Signer
    names: Names
    egress: Egress
    blobs: Blobs
    port: int
    waiting: dict[str, str]
    """Runtime tokens by the bootstrap tokens that are exchanged for them."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def session(self, execution_id: str | None = None, **reach: Any) -> tuple[str, str]:
        """A session with this `egress` and `git`, and its runtime token."""
        until = datetime.now(UTC) + timedelta(minutes=10)
        charter = Charter(flow="reach", tools=(), models=(), **reach)

        def unit(tx: Tx) -> str:
            return sessions.open_session(
                tx,
                DEFAULT,
                kind="execution",
                principal="agent",
                charter=charter,
                alive_until=until,
                execution_id=execution_id,
            )

        session_id = await self.db.write(unit)
        return session_id, self.signer.sign(subject=session_id, audience=AUDIENCE, expires_at=until)

    async def revoke(self, session_id: str) -> None:
        await self.db.write(lambda tx: sessions.revoke(tx, session_id))

    async def told(self, session_id: str) -> list[tuple[str, dict[str, Any]]]:
        """What the doors wrote down."""
        found = await events.read(self.db, DEFAULT, session_id)
        return [(one.type, one.data) for one in found if not one.type.startswith("session.")]

    async def closed(self, session_id: str, type_: str = "egress.closed", count: int = 1) -> list[dict[str, Any]]:
        """The data of so many events of a type, once they are there."""
        with anyio.fail_after(20), self.bus.watch(events.topic(session_id)) as watch:
            while len(found := [data for kind, data in await self.told(session_id) if kind == type_]) < count:
                await watch.changed(1)
        return found


@asynccontextmanager
async def plane(
    folder: Path,
    *,
    settings: Mapping[str, Any] = {},
    hosts: Mapping[str, GitHost] = {},
    names: Mapping[str, Sequence[Sequence[str]]] | None = {},
    head_s: float = 10.0,
) -> AsyncIterator[Plane]:
    """Without `names` they are resolved as this machine does."""
    bus, signer = Bus(), Signer.open(folder / "signing.pem")
    db = connected(folder / "preloop.db", bus)
    await db.write(lambda tx: prepare(tx, signer))
    limits = EgressSettings.model_validate(settings)
    parts = Parts(db=db, bus=bus, doorkeeper=Doorkeeper(db, bus, Listener.CONTAINERS), allowance=Allowance(limits))
    known = Names({name: [list(answer) for answer in answers] for name, answers in (names or {}).items()})
    resolve = resolved if names is None else known
    async with (
        open_egress(parts, limits, resolve=resolve, head_s=head_s) as egress,
        open_git(parts, hosts) as git,
    ):
        waiting: dict[str, str] = {}

        async def exchange(request: Request) -> JSONResponse:
            return JSONResponse({"token": waiting[asgi.bearer(request.headers) or ""]})

        blobs = Blobs(folder / "blobs")
        routes = [
            Route(PATH, exchange, methods=["POST"]),
            *left.routes(db=db, doorkeeper=parts.doorkeeper, blobs=blobs),
        ]
        app = _app(git, Router(routes=routes, default=_unknown))
        with bind("127.0.0.1", 0) as sock:
            async with listening(Served(app=asgi.Faults(app), sockets=[sock], take=egress.take)):
                running = {"db": db, "bus": bus, "signer": signer, "names": known, "egress": egress, "blobs": blobs}
                yield Plane(**running, port=port_of(sock), waiting=waiting)  # type: ignore[arg-type]
                egress.drain()
    await db.close()


def _app(git: Git, rest: Router) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        await (git if git.serves(scope["path"]) else rest)(scope, receive, send)

    return front


async def _unknown(scope: Scope, receive: Receive, send: Send) -> None:
    raise Missing("not_found", "There is nothing at this address.")


def grants(**repos: str | None) -> tuple[GitGrant, ...]:
    """`name=push`: repositories of `owner` at `HOST`."""
    return tuple(GitGrant(host=HOST, repo=f"owner/{name}", push=push) for name, push in repos.items())


def problem(answer: bytes) -> tuple[int, str]:
    """Status and code of a refusal as it came over the wire."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)["code"]
