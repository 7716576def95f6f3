"""The model gateway's door: a raw ASGI application in front of the starlette stack, one instance for each listener.

Every refusal is in the words of the wire that was spoken. Neighbours: `intake` reads, `admission` decides, `relay`
answers.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack

from starlette.types import Receive, Scope, Send

from control.identity.caps import Caps
from control.identity.doorkeeper import Doorkeeper
from control.identity.principals import Principal
from gateway import figures, intake
from gateway.call import Call
from gateway.dialects import counting
from gateway.dialects.counting import Counting
from gateway.models import Models
from gateway.relay import Relay
from gateway.settings import GatewaySettings
from gateway.stream import JSON, Headers, Outlet
from gateway.upstream import UpstreamFailed
from gateway.wires import chat, embeddings, gemini, gemini_face, messages_face
from gateway.wires.neutral import HERE, Address, Json, Request, Wire, compact
from gateway.wires.responses_face import RESPONSES
from kit.errors import Fault, Missing
from kit.observe import log

Parse = Callable[[Json, Address], Request]
PREFIXES = ("/openai", "/anthropic", "/gemini")
WIRES: Mapping[str, Wire] = {
    "/openai/v1/chat/completions": chat.CHAT,
    "/openai/v1/responses": RESPONSES,
    "/openai/v1/embeddings": embeddings.EMBEDDINGS,
    "/anthropic/v1/messages": messages_face.MESSAGES,
}
COUNTINGS: Mapping[str, Counting] = {"/anthropic/v1/messages/count_tokens": counting.MESSAGES}
SPOKEN: Mapping[str, Wire] = {
    "openai": chat.CHAT,
    "anthropic": messages_face.MESSAGES,
    "gemini": gemini_face.GEMINI,
}
"""How a path of ours that is nobody's hears so."""
GEMINI = "/gemini"
COUNT = "countTokens"


class GatewayApp:
    """The wires on one listener; the doorkeeper says whose tokens are good there."""

    def __init__(
        self,
        *,
        doorkeeper: Doorkeeper,
        settings: GatewaySettings,
        models: Models,
        relay: Relay,
        caps: Caps | None = None,
    ) -> None:
        self._doorkeeper = doorkeeper
        self._settings = settings
        self._models = models
        self._relay = relay
        self._caps = caps

    @staticmethod
    def serves(path: str) -> bool:
        """Is this path ours? For whoever stands in front of both us and the pages."""
        return any(path == prefix or path.startswith(prefix + "/") for prefix in PREFIXES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        outlet = Outlet(receive, send, stalled_s=self._settings.stalled_client_s)
        path = scope["path"]
        wire = WIRES.get(path) or SPOKEN.get(path.split("/", 2)[1], chat.CHAT)
        try:
            with ExitStack() as held:
                await self._route(path, wire, scope, receive, outlet, held)
        except Fault as fault:
            await _refuse(outlet, *wire.refusal(fault), fault)
        except Exception:
            if outlet.started:
                raise
            log.exception("gateway request broke", path=path)
            await _refuse(outlet, *wire.refusal(_BROKEN), _BROKEN)
        figures.REQUESTS.add(wire.name, str(outlet.status))

    async def _route(
        self, path: str, wire: Wire, scope: Scope, receive: Receive, outlet: Outlet, held: ExitStack
    ) -> None:
        """Answer; `held` is what the call has of its session's share until it is over."""
        intake.check_query(scope["query_string"])
        if scope["method"] != "POST":
            await self._other(path, scope, outlet)
        elif path in WIRES:
            await self._relay.answer(await self._call(wire, wire.parse, HERE, scope, receive, outlet, held))
        elif path in COUNTINGS:
            await self._count(COUNTINGS[path], HERE, scope, receive, outlet, held)
        elif path.startswith(GEMINI):
            method, address = gemini.addressed(path.removeprefix(GEMINI), scope["query_string"].decode("latin-1"))
            if method == COUNT:
                await self._count(counting.GEMINI, address, scope, receive, outlet, held)
            else:
                await self._relay.answer(await self._call(wire, wire.parse, address, scope, receive, outlet, held))
        else:
            raise _missing(scope)

    async def _count(
        self, way: Counting, address: Address, scope: Scope, receive: Receive, outlet: Outlet, held: ExitStack
    ) -> None:
        call = await self._call(way.wire, way.parse, address, scope, receive, outlet, held)
        await outlet.whole(200, await self._relay.count(way, call), JSON)

    async def _call(
        self,
        wire: Wire,
        parse: Parse,
        address: Address,
        scope: Scope,
        receive: Receive,
        outlet: Outlet,
        held: ExitStack,
    ) -> Call:
        """Who asks for what."""
        head = intake.head(scope)
        token = intake.token(head)
        principal = await self._doorkeeper.admit(token)
        if self._caps is not None:
            held.enter_context(self._caps.inside(principal.session_id))
        raw = await intake.body(receive, head.encoding, self._settings.max_body_bytes)
        if head.named:
            address = Address(alias=address.alias, stream=address.stream, headers=head.named)
        try:
            request = parse(intake.parsed(raw), address)
        except RecursionError as error:
            raise intake.too_deep() from error
        return Call(token=token, principal=principal, request=request, wire=wire, size=len(raw), outlet=outlet)

    async def _other(self, path: str, scope: Scope, outlet: Outlet) -> None:
        if path == "/anthropic" and scope["method"] == "HEAD":  # Claude Code asks whether anybody is here
            return await outlet.whole(200, b"", JSON)
        if path == "/openai/v1/models" and scope["method"] == "GET":
            principal = await self._doorkeeper.admit(intake.token(intake.head(scope)))
            return await outlet.whole(200, compact(self._listed(principal)).encode(), JSON)
        raise _missing(scope)

    def _listed(self, principal: Principal) -> Json:
        mine = [alias for alias in principal.charter.models if alias in self._models.aliases]
        data = [{"id": alias, "object": "model", "created": 0, "owned_by": "preloop"} for alias in mine]
        return {"object": "list", "data": data}


def _missing(scope: Scope) -> Missing:
    return Missing(
        "no_such_route",
        f"There is no {scope['method']} {scope['path']} here.",
        "See docs for the model gateway's paths.",
    )


async def _refuse(outlet: Outlet, status: int, body: bytes, fault: Fault) -> None:
    if outlet.started:
        return
    headers: Headers = [*JSON]
    after_s = getattr(fault, "retry_after_s", None)
    if after_s is not None:
        headers.append((b"retry-after", b"%d" % after_s))
    elif not isinstance(fault, UpstreamFailed) and status != 503:
        headers.append((b"x-should-retry", b"false"))  # OpenAI's and Anthropic's SDKs heed it
    await outlet.whole(status, body, headers)


_BROKEN = Fault("internal_error", "The gateway broke on this request.", "The operator's log says why.")
