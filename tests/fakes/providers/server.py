"""The server: hears, remembers, answers. Gateways are pointed at it with `models`."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.fakes.providers import chat, gemini, messages
from tests.fakes.providers.chat import CHAT
from tests.fakes.providers.gemini import GEMINI
from tests.fakes.providers.manner import REFUSALS, Asked, Json, Manner
from tests.fakes.providers.messages import MESSAGES
from tests.fakes.providers.responses import RESPONSES
from tests.serving import serving

MANNERS = {manner.name: manner for manner in (CHAT, RESPONSES, MESSAGES, GEMINI)}
DOINGS = ("echo", "tools", "json", "pause", "cut", *REFUSALS)
PAUSE_S = 0.3
RETRY_AFTER_S = 7
KEY = "sk-provider-f00dfeedf00dfeedf00dfeed"
_PROVIDERS = {"messages": "anthropic", "gemini": "gemini"}
_BASES = {"messages": "", "gemini": "/v1beta"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One request as it came."""

    dialect: str
    target: str  # path and query
    headers: Mapping[str, str]
    raw: bytes
    body: Json

    @property
    def everything(self) -> str:
        """All that could carry something, as one text in small letters."""
        return f"{self.target}\n{dict(self.headers)}\n{self.raw.decode()}".lower()


@dataclass(kw_only=True)
class Provider:
    """The running server as a test sees it."""

    origin: str = ""
    heard: list[Heard] = field(default_factory=list)
    _more: anyio.Event = field(default_factory=anyio.Event)

    async def until(self, count: int) -> None:
        """Wait until so many requests were heard."""
        while len(self.heard) < count:
            self._more = anyio.Event()
            await self._more.wait()

    def models(self, **more: object) -> dict[str, Json]:
        """Aliases `DIALECT-DOING` for a gateway's settings, each with this server behind it."""
        return {
            f"{name}-{doing}": {**self.upstream(name), "model": doing, **more} for name in MANNERS for doing in DOINGS
        } | {"embeds": {**self.upstream("embeddings"), "model": "embeds", **more}}

    def upstream(self, dialect: str) -> Json:
        base = f"{self.origin}{_BASES.get(dialect, '/v1')}"
        found = {"provider": _PROVIDERS.get(dialect, "openai"), "base_url": base, "api_key": KEY, "retries": 0}
        return found | {"dialects": [dialect]}

    async def answer(self, request: Request, manner: Manner) -> Response:
        body = await self._hear(request, manner.name)
        number = len(self.heard)
        try:
            asked = replace(manner.asked(body, request.url.path), number=number)
        except (LookupError, TypeError, AttributeError, AssertionError):
            return JSONResponse(manner.refusal(400, "This is no conversation."), 400)
        named = {"x-request-id": f"req-{number}"}
        if status := REFUSALS.get(asked.model):
            headers = named | ({"retry-after": str(RETRY_AFTER_S)} if status == 429 else {})
            sentence = f"{asked.model} on request. Key: {manner.key(request.headers)}."
            return JSONResponse(manner.refusal(status, sentence), status, headers)
        if asked.stream:
            played = _played(asked, manner.pieces(asked))
            return StreamingResponse(played, media_type="text/event-stream", headers=named)
        if asked.model == "pause":
            await anyio.sleep(PAUSE_S)  # a slow provider is what was asked for
        return JSONResponse(manner.whole(asked), headers=named)

    async def counted(self, request: Request, answer: Json) -> Response:
        await self._hear(request, "count")
        return JSONResponse(answer)

    async def embeddings(self, request: Request) -> Response:
        return JSONResponse(chat.embeddings(await self._hear(request, "embeddings")))

    async def _hear(self, request: Request, dialect: str) -> Json:
        raw = await request.body()
        body: Json = await request.json()
        target = f"{request.url.path}?{request.url.query}"
        self.heard.append(Heard(dialect=dialect, target=target, headers=dict(request.headers), raw=raw, body=body))
        self._more.set()
        return body


async def _played(asked: Asked, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces, with what the model's name asks for in the middle."""
    every = list(pieces)
    for place, piece in enumerate(every):
        if asked.model == "pause" and place in (0, len(every) // 2):
            await anyio.sleep(PAUSE_S)  # as above
        yield piece
        if asked.model == "cut" and place == len(every) // 2:
            raise ConnectionError("cut on request")


@asynccontextmanager
async def serve() -> AsyncIterator[Provider]:
    """The server on a free loopback port, until the context ends."""
    provider = Provider()
    async with serving(_app(provider)) as provider.origin:
        yield provider


def _app(provider: Provider) -> Starlette:
    def speaks(path: str, manner: Manner) -> Route:
        async def answer(request: Request) -> Response:
            return await provider.answer(request, manner)

        return Route(path, answer, methods=["POST"])

    def counts(path: str, answer: Json) -> Route:
        async def counted(request: Request) -> Response:
            return await provider.counted(request, answer)

        return Route(path, counted, methods=["POST"])

    routes = [
        speaks("/v1/chat/completions", CHAT),
        speaks("/v1/responses", RESPONSES),
        speaks("/v1/messages", MESSAGES),
        counts("/v1/messages/count_tokens", {"input_tokens": messages.COUNTED}),
        counts("/v1beta/models/{model}:countTokens", {"totalTokens": gemini.COUNTED}),
        speaks("/v1beta/models/{method}", GEMINI),
        Route("/v1/embeddings", provider.embeddings, methods=["POST"]),
    ]
    return Starlette(routes=routes)
