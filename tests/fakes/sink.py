"""A web server that keeps what it is sent and answers as it is told."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from kit import canonical
from tests.serving import serving


@dataclass
class Sink:
    url: str = ""
    status: int = 200
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)

    @property
    def json(self) -> Any:
        """The last body."""
        return canonical.parse(self.bodies[-1])

    async def take(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        self.headers.append(dict(request.headers))
        self.paths.append(request.url.path)
        return Response("ok", self.status)


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    kept = Sink()
    app = Starlette(routes=[Route("/{rest:path}", kept.take, methods=["POST"])])
    async with serving(app) as url:
        kept.url = url
        yield kept
