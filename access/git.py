"""The git door: `/git/<host>/<owner>/<repo>.git/…`, git's smart HTTP with a credential that the container never sees.

A flow's repositories are read; a push goes to the branches the flow names and to nothing else, decided by the command
list before the host hears of it. Neighbours: `repository` and `push` decide, `forward` asks upstream.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio
import httpx
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from access import push, repository
from access.alive import unless
from access.allowance import Meter
from access.forward import Forward
from access.parts import Parts
from access.repository import Asked
from access.settings import GitHost
from access.upload import CLIENT_S, Upload
from control.identity.principals import Principal
from kit.asgi import bearer
from kit.errors import Fault, Invalid, Refused, Unauthorized, Unavailable

PUSHED = "application/x-git-receive-pack-result"


class Git:
    """The ASGI application of the door."""

    def __init__(self, parts: Parts, forward: Forward) -> None:
        self._parts = parts
        self._forward = forward

    @staticmethod
    def serves(path: str) -> bool:
        return path.startswith(repository.PREFIX)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._admit(scope, receive, send)
        except Fault as fault:
            await _refuse(fault)(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Who asks for what?"""
        head = Headers(scope=scope)
        token = bearer(head)
        if not token:
            raise Unauthorized("token_missing", "There is no token.", "The entry script gives git one.")
        principal = await self._parts.doorkeeper.admit(token)
        with self._parts.allowance.inside(principal.session_id) as meter:
            upload = Upload(receive, meter)
            path = scope["raw_path"].decode("latin-1")
            try:
                asked = repository.find(principal.charter, scope["method"], path, scope["query_string"])
            except Fault as fault:
                await self._tell_refused(principal, path, fault)
                raise
            try:
                refs = await self._refs(asked, upload)
            except (Refused, Invalid) as fault:
                await self._tell_refused(principal, path, fault)
                answer = await _decline(fault, upload)
                await answer(scope, receive, send)
                return
            where = {"host": asked.grant.host, "repo": asked.grant.repo}
            if refs:
                await self._parts.tell(principal, "git.pushing", **where, refs=refs)
            exchange = _Exchange(asked, upload, meter, send)
            ended = self._parts.ended(token, principal)
            try:
                await exchange.run(partial(self._forward.ask, asked, head, None if asked.refs else upload), ended)
            finally:
                await self._parts.tell_end(principal, "git.answered", **where, **exchange.figures())

    async def _refs(self, asked: Asked, upload: Upload) -> list[dict[str, str]]:
        """What a push changes, decided before anybody else hears of it."""
        if asked.refs or asked.service != "git-receive-pack":
            return []
        updates = await upload.commands()
        push.check(asked.grant, updates)
        return [{"ref": one.ref, "old": one.old, "new": one.new} for one in updates]

    async def _tell_refused(self, principal: Principal, path: str, fault: Fault) -> None:
        await self._parts.tell(principal, "git.refused", path=path[:300], code=fault.code, message=fault.message)


class _Exchange:
    """One request and its answer, from the moment it was let in."""

    def __init__(self, asked: Asked, upload: Upload, meter: Meter, send: Send) -> None:
        self._asked = asked
        self._upload = upload
        self._meter = meter
        self._send = send
        self._began = time.monotonic()
        self._started = False
        self._why = "stopped"

    def figures(self) -> dict[str, object]:
        ms = round((time.monotonic() - self._began) * 1000)
        moved = {"up": self._meter.up, "down": self._meter.down, "duration_ms": ms, "why": self._why}
        return {"service": self._asked.service, "refs": self._asked.refs, **moved}

    async def run(
        self, ask: Callable[[], Awaitable[httpx.Response]], session_ended: Callable[[], Awaitable[None]]
    ) -> None:
        """To the end. A Fault when nothing was said to the client yet; later on its connection just ends."""
        try:
            if not await unless(self._upload.left, partial(self._alive, ask, session_ended)) and self._why != "over":
                self._why = "client_left"
        except Fault as fault:
            self._why = fault.code
            if not self._started:
                raise
        except (httpx.HTTPError, OSError) as error:
            self._why = "broken"
            if not self._started:
                raise Unavailable("git_failed", f"{self._asked.grant.host} broke off.", "Try again.") from error

    async def _alive(
        self, ask: Callable[[], Awaitable[httpx.Response]], session_ended: Callable[[], Awaitable[None]]
    ) -> None:
        if not await unless(session_ended, partial(self._relay, ask)) and self._why != "over":
            raise Unauthorized("session_ended", "This session has ended.")

    async def _relay(self, ask: Callable[[], Awaitable[httpx.Response]]) -> None:
        answer = await ask()
        try:
            headers = [(b"content-type", self._asked.accept.encode()), (b"cache-control", b"no-cache")]
            self._started = True
            await self._say({"type": "http.response.start", "status": 200, "headers": headers})
            async for piece in answer.aiter_raw():
                self._meter.came(len(piece))
                await self._say({"type": "http.response.body", "body": piece, "more_body": True})
            await self._say({"type": "http.response.body", "body": b""})
            self._why = "over"
        finally:
            await answer.aclose()

    async def _say(self, message: Message) -> None:
        with anyio.fail_after(CLIENT_S):
            await self._send(message)


def _refuse(fault: Fault) -> PlainTextResponse:
    """In text, as git shows it."""
    return PlainTextResponse(f"preloop: {fault.message} {fault.hint}".rstrip() + "\n", fault.status)


async def _decline(fault: Fault, upload: Upload) -> Response:
    """A push, in git's own words: an error on the third band, once all was heard. Its HTTP errors say no more than
    their number."""
    async for _ in upload:
        pass
    said = f"\x03preloop: {fault.message} {fault.hint}\n".encode()
    return Response(b"%04x%b0000" % (len(said) + 4, said), media_type=PUSHED)


@asynccontextmanager
async def open_git(parts: Parts, hosts: Mapping[str, GitHost]) -> AsyncIterator[Git]:
    """The door, open inside of this context."""
    forward = Forward(hosts)
    try:
        yield Git(parts, forward)
    finally:
        await forward.close()
