"""How the upstreams are: what calls told of them in this process, and what they say when they are asked just now.

The question costs nothing: the list of models, with the key that calls have. A script is not asked, nor is a provider
that only LiteLLM can ask.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anyio
from yarl import URL

from gateway.client import Client
from gateway.keys import Keys
from gateway.models import DIALECTS, Models
from gateway.routing import Routing
from gateway.upstream import Target
from gateway.wires.neutral import Request
from kit.clock import Clock
from kit.errors import Fault

WAIT_S = 15.0
AT_ONCE = 8
LISTS = {"messages": "/v1/models"}
"""Where a dialect lists models, if not at `/models`."""
UNLISTED = (404, 405, 501)
"""It answers, and has no such list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One upstream of an alias. `state` is its breaker's; counts are of this process since its start."""

    alias: str
    place: int
    order: int
    weight: int
    provider: str
    model: str
    dialects: tuple[str, ...]
    priced: bool
    state: str
    answered: int
    failed: int
    last_error: str | None
    last_error_at: str | None
    probe: str | None = None  # ok | failed | skipped, when it was asked just now
    probe_error: str | None = None


class Checks:
    """The upstreams of all aliases."""

    def __init__(self, *, models: Models, routing: Routing, client: Client, keys: Keys, clock: Clock) -> None:
        self._models = models
        self._routing = routing
        self._client = client
        self._keys = keys
        self._clock = clock

    def standings(self) -> list[Standing]:
        return [self._standing(target) for target in self._targets()]

    async def check(self) -> list[Standing]:
        """Ask each upstream, eight at a time."""
        found: dict[tuple[str, int], Standing] = {}
        room = anyio.CapacityLimiter(AT_ONCE)

        async def ask(target: Target) -> None:
            async with room:
                probe, error = await self._probe(target)
            found[target.alias, target.place] = replace(self._standing(target), probe=probe, probe_error=error)

        async with anyio.create_task_group() as tasks:
            for target in self._targets():
                tasks.start_soon(ask, target)
        return [found[key] for key in sorted(found)]

    async def serves(self, alias: str) -> bool:
        """Is there an upstream of this alias that is not left alone, and answers when it is asked now?"""
        route = self._models.route(alias)
        targets = [target for target in route.targets if not self._routing.open(target)] if route else []
        for target in targets:
            probe, _ = await self._probe(target)
            if probe != "failed":
                return True
        return False

    def _targets(self) -> Sequence[Target]:
        routes = [self._models.route(alias) for alias in sorted(self._models.aliases)]
        return [target for route in routes if route for target in route.targets]

    def _standing(self, target: Target) -> Standing:
        health = self._routing.health(target)
        return Standing(
            alias=target.alias,
            place=target.place,
            order=target.settings.order,
            weight=target.settings.weight,
            provider=target.provider,
            model=target.model,
            dialects=target.dialects,
            priced=target.price_at(self._clock.now()) is not None,
            state=health.state(self._clock.monotonic()),
            answered=health.answered,
            failed=health.failed,
            last_error=health.last_error,
            last_error_at=health.last_error_at,
        )

    async def _probe(self, target: Target) -> tuple[str, str | None]:
        dialect = next((DIALECTS[name] for name in target.dialects if name in DIALECTS), None)
        if dialect is None or target.base is None:
            return "skipped", None
        try:
            with anyio.fail_after(WAIT_S):
                headers = dialect.headers(self._keys.of(target.settings), Request(alias=target.alias, messages=()))
                url = URL(f"{target.base}{LISTS.get(dialect.name, '/models')}", encoded=True)
                status = await self._client.look(target, url, headers)
        except TimeoutError:
            return "failed", f"no answer within {WAIT_S:g} s"
        except Fault as fault:
            return "failed", fault.message
        if status < 300 or status in UNLISTED:
            return "ok", None
        return "failed", "It refuses the key." if status in (401, 403) else f"It answers with status {status}."
