"""Which voice a target is asked with: its own dialect passed through, another one that we write, or LiteLLM."""

from collections.abc import Callable

import msgspec
from yarl import URL

from gateway.client import Client
from gateway.dialects.counting import Counting, estimate
from gateway.dialects.dialect import Dialect
from gateway.keys import Keys
from gateway.models import DIALECTS, Models
from gateway.post import Post
from gateway.provider import transformed
from gateway.speaking import Passing, Reading, Telling, Voice
from gateway.upstream import Target, UpstreamFailed
from gateway.wires.chat_messages import ANNOTATIONS
from gateway.wires.neutral import Face, Json, Request, Thought, Wire
from gateway.wires.responses_items import ECHOED
from gateway.wires.seals import maker
from kit.errors import Invalid, Unavailable

EMBEDDINGS = "embeddings"
NOWHERE = ("anthropic-beta:", ANNOTATIONS, *(f"input.{name}" for name in ECHOED))
"""How names begin of what no provider is told, of the client's dialect either."""
UNSEALED = ("responses", "gemini")
"""Dialects that can read no thought which nobody signed: it may be of any model."""


class Voices:
    """Chooses the voice for a target."""

    def __init__(self, models: Models, client: Client, keys: Keys) -> None:
        self._models = models
        self._client = client
        self._keys = keys
        self._urls: dict[tuple[str, int, str, bool], URL] = {}

    async def of(self, target: Target, request: Request, wire: Wire, face: Callable[[], Face]) -> Voice:
        """How this target is asked what this client wants; Invalid when it can't be."""
        if wire.name in target.dialects and (dialect := DIALECTS.get(wire.name)):
            body = dialect.passed(request, target.model, target.max_output(request))
            return Passing(
                self._post(target, dialect, request, body), dialect.meter(request), kept(request, body, dialect.name)
            )
        if wire.name == EMBEDDINGS or request.choices > 1:
            what = (
                "makes no embeddings" if wire.name == EMBEDDINGS else "speaks another wire, and gives one answer a call"
            )
            raise Invalid(
                "model_unsuitable",
                f"The model {target.alias!r} {what}.",
                "Ask a model that speaks this wire, or for one answer.",
            )
        dialect = next((DIALECTS[name] for name in target.dialects if name in DIALECTS and name != EMBEDDINGS), None)
        if dialect is None:
            provider = self._models.provider(target)
            dropped, size = await provider.told(target, request)
            return Telling(provider.stream(target, request), target, face(), dropped, size)
        body, dropped = await self._written(target, dialect, request)
        return Reading(self._post(target, dialect, request, body), dialect.reader(request), face(), dropped)

    async def counted(self, counting: Counting, target: Target, request: Request) -> bytes:
        """How many tokens a request has: asked of a provider that can tell, estimated for any other."""
        if counting.wire.name in target.dialects:
            url = URL(f"{target.base}{counting.path(target.model)}", encoded=True)
            key = self._keys.of(target.settings)
            body = msgspec.json.encode(counting.passed(request, target.model))
            try:
                return await Post(self._client, target, counting.dialect, url, request, key, body).once()
            except UpstreamFailed as fault:
                if fault.final:
                    raise
        return counting.answer(estimate(request))

    async def _written(self, target: Target, dialect: Dialect, request: Request) -> tuple[Json, tuple[str, ...]]:
        """A request of another wire in the words of this dialect, and what it can't carry."""
        most = target.max_output(request)
        if dialect.asked is None:
            return await transformed(dialect.name, request, target.model, most)
        return dialect.asked(request, target.model, most)

    def _post(self, target: Target, dialect: Dialect, request: Request, body: Json) -> Post:
        place = (target.alias, target.place, dialect.name, request.stream)
        if place not in self._urls:
            if target.base is None:
                raise Unavailable(
                    "base_url_missing", f"Where {target.alias!r} listens is not known.", "Set `base_url`."
                )
            self._urls[place] = URL(f"{target.base}{dialect.path(target.model, request.stream)}", encoded=True)
        key = self._keys.of(target.settings)
        return Post(self._client, target, dialect, self._urls[place], request, key, msgspec.json.encode(body))


def kept(request: Request, passed: Json, dialect: str) -> tuple[str, ...]:
    """What of a body that passes through its provider is not told: thoughts of another too. What only a translation
    loses passed."""
    kept = request.body.keys() - passed.keys()
    thoughts = (part for part in request.parts if type(part) is Thought)
    own = (dialect,) if dialect in UNSEALED else (None, dialect)
    others: tuple[str, ...] = ("reasoning",) if any(maker(part.seal) not in own for part in thoughts) else ()
    if request.thinking and (passed.get("thinking") or {}).get("type") == "disabled":
        others += ("thinking",)
    return others + tuple(name for name in request.dropped if name in kept or name.startswith(NOWHERE))
