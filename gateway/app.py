"""The model gateway's door: a raw ASGI application in front of the starlette stack, one instance for each listener.

Wires that are not built yet are refused by name, in their own words. Neighbours: `admission` decides, `relay` answers.
"""

import re
from collections.abc import Mapping

from starlette.types import Receive, Scope, Send

from control.identity.principals import Principal
from control.identity.sessions import Doorkeeper
from gateway import refusals
from gateway.admission import Admission
from gateway.flush import Flush
from gateway.models import Models
from gateway.relay import Relay
from gateway.settings import GatewaySettings
from gateway.stream import JSON, Headers, Outlet
from gateway.upstream import UpstreamFailed
from gateway.wires import chat
from gateway.wires.neutral import HERE, Json, Wire, compact
from gateway.wires.responses_face import RESPONSES
from kit import canonical
from kit.bus import Bus
from kit.clock import Clock
from kit.db import Database
from kit.errors import Fault, Invalid, Missing, Unauthorized
from kit.journal import Journal
from kit.observe import log

PREFIXES = ("/openai", "/anthropic", "/gemini")
WIRES: Mapping[str, Wire] = {"/openai/v1/chat/completions": chat.CHAT, "/openai/v1/responses": RESPONSES}
_BEARER = re.compile(rb"bearer +(\S+)", re.IGNORECASE)
_KEYS = (b"x-api-key", b"x-goog-api-key")


class GatewayApp:
    """`/openai/v1/…` on one listener; the doorkeeper says whose tokens are good there."""

    def __init__(
        self,
        *,
        db: Database,
        bus: Bus,
        doorkeeper: Doorkeeper,
        settings: GatewaySettings,
        models: Models,
        flush: Flush,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._models = models
        self._admission = Admission(
            db=db, doorkeeper=doorkeeper, models=models, flush=flush, journal=journal, clock=clock
        )
        self._relay = Relay(
            admission=self._admission,
            models=models,
            flush=flush,
            journal=journal,
            bus=bus,
            settings=settings,
            clock=clock,
        )

    @staticmethod
    def serves(path: str) -> bool:
        """Is this path ours? For whoever stands in front of both us and the pages."""
        return any(path == prefix or path.startswith(prefix + "/") for prefix in PREFIXES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outlet = Outlet(receive, send, stalled_s=self._settings.stalled_client_s)
        wire = WIRES.get(scope["path"], chat.CHAT)
        try:
            await self._route(scope, receive, outlet)
        except Fault as fault:
            await _refuse(outlet, *_spoken(scope["path"], wire, fault), fault)
        except Exception:
            if outlet.started:
                raise
            log.exception("gateway request broke", path=scope["path"])
            await _refuse(outlet, *wire.refusal(_BROKEN), _BROKEN)

    async def _route(self, scope: Scope, receive: Receive, outlet: Outlet) -> None:
        path, method = scope["path"], scope["method"]
        if refusals.absent(path):
            raise Fault(*refusals.NOT_YET)
        if path == "/openai/v1/models" and method == "GET":
            principal = await self._admission.identify(_token(scope))
            return await outlet.whole(200, compact(self._listed(principal)).encode(), JSON)
        wire = WIRES.get(path)
        if wire is None or method != "POST":
            raise Missing(
                "no_such_route", f"There is no {method} {path} here.", "See docs for the model gateway's paths."
            )
        token = _token(scope)
        principal = await self._admission.identify(token)
        raw = await self._body(scope, receive)
        request = wire.parse(_parsed(raw), HERE)
        await self._relay.answer(token, principal, request, wire, len(raw), outlet)

    def _listed(self, principal: Principal) -> Json:
        mine = [alias for alias in principal.charter.models if alias in self._models.aliases]
        data = [{"id": alias, "object": "model", "created": 0, "owned_by": "preloop"} for alias in mine]
        return {"object": "list", "data": data}

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        if dict(scope["headers"]).get(b"content-encoding", b"identity") != b"identity":
            raise Invalid("encoding_not_supported", "Compressed bodies are not read here.", "Send plain JSON.")
        pieces, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Invalid("body_cut", "The request's body did not arrive whole.")
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._settings.max_body_bytes:
                raise Invalid("body_too_large", f"The body has more than {self._settings.max_body_bytes} bytes.")
            if not message.get("more_body"):
                return b"".join(pieces)


def _token(scope: Scope) -> str:
    """The session's token, from whichever header this client's SDK uses."""
    headers = dict(scope["headers"])
    bearer = _BEARER.fullmatch(headers.get(b"authorization", b""))
    found = bearer[1] if bearer else next((headers[key] for key in _KEYS if headers.get(key)), b"")
    if not found:
        raise Unauthorized("token_missing", "There is no token.", "Send Authorization: Bearer, with PRELOOP_API_TOKEN.")
    return found.decode("latin-1")


def _parsed(raw: bytes) -> Json:
    body = canonical.parse(raw)
    if not isinstance(body, dict):
        raise Invalid("body_invalid", "The body is not a JSON object.")
    return body


def _spoken(path: str, wire: Wire, fault: Fault) -> tuple[int, bytes]:
    if fault.code == refusals.NOT_YET[0] and refusals.absent(path):
        return refusals.not_yet(path)
    return wire.refusal(fault)


async def _refuse(outlet: Outlet, status: int, body: bytes, fault: Fault) -> None:
    if outlet.started:
        return
    headers: Headers = [*JSON]
    if isinstance(fault, UpstreamFailed) and fault.retry_after_s is not None:
        headers.append((b"retry-after", str(fault.retry_after_s).encode()))
    elif not isinstance(fault, UpstreamFailed) and status != 503:
        headers.append((b"x-should-retry", b"false"))  # OpenAI's and Anthropic's SDKs heed it
    await outlet.whole(status, body, headers)


_BROKEN = Fault("internal_error", "The gateway broke on this request.", "The operator's log says why.")
