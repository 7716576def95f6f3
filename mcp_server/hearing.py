"""One client's end of a call: what we and the upstream tell it while it waits, and what the upstream asks of it.

A client hears progress of one number that only grows: our own reports take tiny steps below the upstream's. What it is
asked on the older wire goes out on the stream of its own request and is answered in its session.
"""

from collections.abc import MutableMapping
from typing import Any

from mcp.server import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp.shared.message import ServerMessageMetadata
from mcp_types import LOG_LEVEL_META_KEY, LoggingMessageNotification, Request
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import RootModel, ValidationError

from mcp_server.exchange import EXCHANGE, Exchange
from mcp_server.manner import ROUNDS, Manner, Message

Context = ServerRequestContext[Any, Any]
STEP = 0.001
"""One report of ours in the number of progress."""
USUAL_LEVEL = "info"
"""What a client of the older wire hears of an upstream's log, until it sets a level."""


class _Asking(Request[dict[str, Any] | None, str]):
    """A request to the client, of any method."""


class _Raw(RootModel[dict[str, Any]]):
    """Its result, as it came."""


def exchange_of(ctx: Context) -> Exchange:
    found = ctx.request.scope[EXCHANGE] if ctx.request is not None else None
    assert isinstance(found, Exchange)
    return found


def is_older(ctx: Context) -> bool:
    return ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS


class Hearing:
    """`levels` are the log levels that sessions of the older wire have set, by the transport's session id."""

    def __init__(self, ctx: Context, levels: MutableMapping[str, str]) -> None:
        self._ctx = ctx
        self._levels = levels
        self._exchange = exchange_of(ctx)
        self._progress = 0.0

    def manner(self) -> Manner:
        """How this client's request goes upstream."""
        declared = self._ctx.session.client_capabilities
        raw = self._ctx.params or {}
        return Manner(
            capabilities=declared.model_dump(by_alias=True, mode="json", exclude_none=True) if declared else {},
            rounds={name: raw[name] for name in ROUNDS if name in raw},
            log_level=self._level(raw),
            progress=(self._ctx.meta or {}).get("progress_token") is not None,
            older=is_older(self._ctx),
            heard=self.heard,
        )

    def _level(self, raw: Any) -> str | None:  # noqa: ANN401 - a request's parameters
        if is_older(self._ctx):
            return self._levels.get(session_of(self._ctx), USUAL_LEVEL)
        level = (raw.get("_meta") or {}).get(LOG_LEVEL_META_KEY)
        return level if isinstance(level, str) else None

    async def report(self, message: str, *, waiting: bool) -> None:
        """How its call stands, in our words."""
        await self._exchange.open()
        await self._step(self._progress + STEP, None, message)

    async def heard(self, message: Message) -> Message | None:
        """What the upstream tells or asks in mid-call."""
        params = message.get("params") or {}
        if "id" in message:
            return await self._ask(str(message["method"]), message.get("params"))
        if message["method"] == "notifications/progress":
            value, total, text = params.get("progress"), params.get("total"), params.get("message")
            if isinstance(value, int | float):
                await self._step(max(value, self._progress + STEP) if self._progress else value, total, text)
        elif message["method"] == "notifications/message":
            await self._log(message)
        return None

    async def _step(self, value: float, total: float | None, text: str | None) -> None:
        self._progress = value
        await self._ctx.session.report_progress(value, total, text)

    async def _log(self, message: Message) -> None:
        try:
            notification = LoggingMessageNotification.model_validate(message)
        except ValidationError:
            return
        await self._ctx.session.send_notification(notification, related_request_id=self._ctx.request_id)

    async def _ask(self, method: str, params: dict[str, Any] | None) -> Message:
        related = ServerMessageMetadata(related_request_id=self._ctx.request_id)
        try:
            asking = _Asking(method=method, params=params)
            answer = await self._ctx.session.send_request(asking, _Raw, metadata=related)  # type: ignore[arg-type]
        except MCPError as error:
            return {"error": {"code": error.code, "message": error.message}}
        return {"result": answer.root}


def session_of(ctx: Context) -> str:
    """The transport's session, '' where there is none."""
    return str(ctx.request.headers.get("mcp-session-id", "")) if ctx.request is not None else ""
