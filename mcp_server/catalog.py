"""The tools of one principal: what its charter grants, out of what the upstreams publish.

Listing and calling ask the same question here, so what is not shown cannot be called. A definition that nobody accepted
is not shown either: its text would reach the model.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import anyio

from control.approvals.policy import matching, names_server
from control.identity.charter import ToolGrant
from control.identity.principals import Principal
from kit.metrics import Counter
from kit.observe import log
from mcp_server.schema import Definition, advertise, complaints, define, names
from mcp_server.trust import Trust
from mcp_server.upstream.upstream import Upstream

KEPT = 1000
LISTS = Counter("preloop_tool_lists_total", "Questions for a session's tools, by whether the answer was kept.", "cache")

_Key = tuple[tuple[ToolGrant, ...], tuple[int, ...], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One tool as one principal sees it, with the entries of the allowlist that speak of it."""

    name: str
    definition: Definition
    grants: tuple[ToolGrant, ...]

    def shown(self) -> dict[str, Any]:
        return advertise(self.definition, self.name, self.grants)


class Catalog:
    """Knows every upstream. Offers are kept per charter until an upstream's tools change, or which are accepted."""

    def __init__(self, upstreams: Sequence[Upstream], trust: Trust) -> None:
        self.upstreams: Mapping[str, Upstream] = {upstream.name: upstream for upstream in upstreams}
        self._trust = trust
        self._kept: dict[_Key, dict[str, Offer]] = {}

    async def offers(self, principal: Principal) -> Mapping[str, Offer]:
        """Visible name → tool, in the order of names."""
        if unseen := self.unseen(principal):
            async with anyio.create_task_group() as waiting:
                for upstream in unseen:
                    waiting.start_soon(upstream.first)
        generations = tuple(upstream.generation for upstream in self.upstreams.values())
        key = (principal.charter.tools, generations, self._trust.generation)
        LISTS.add("hit" if key in self._kept else "miss")
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[key] = self._resolve(principal.charter.tools)
        return self._kept[key]

    async def reread(self, server: str) -> None:
        """Know what a server's tools are now: before one is called that somebody said yes to a while ago."""
        if upstream := self.upstreams.get(server):
            await upstream.reread()

    def held(self, principal: Principal, name: str) -> str | None:
        """Why a tool that the charter lists is not offered, for the agent that calls it all the same."""
        found = self._resolve(principal.charter.tools).values()
        if known := sorted(offer.name for offer in found if offer.definition.tool == name):
            return f"Tool '{name}' was not called: several servers have one of that name. Call {' or '.join(known)}."
        for upstream in self.upstreams.values():
            tool = name.removeprefix(f"{upstream.name}__")
            if not matching(principal.charter.tools, upstream.name, tool):
                continue
            definition = (upstream.definitions or {}).get(tool)
            if definition is not None and not self._trust.serves(definition):
                return self._trust.refusal(name, definition)
            if why := upstream.unusable.get(tool):
                return f"Tool '{name}' was not called: it is quarantined. {why.reason}"
        return None

    def unseen(self, principal: Principal) -> list[Upstream]:
        """Upstreams of this charter whose tools nobody knows yet, because they were never reached."""
        return [
            upstream
            for upstream in self.upstreams.values()
            if upstream.definitions is None and names_server(principal.charter.tools, upstream.name)
        ]

    def schema_of(self, name: str) -> Mapping[str, Any] | None:
        """The input schema behind a visible name, for the SDK's check of headers; None where it is not one tool's."""
        known = [d for upstream in self.upstreams.values() for d in (upstream.definitions or {}).values()]
        found = [d for d in known if name in (d.tool, f"{d.server}__{d.tool}")]
        return found[0].raw["inputSchema"] if len(found) == 1 else None

    def _resolve(self, grants: tuple[ToolGrant, ...]) -> dict[str, Offer]:
        allowed = {
            (upstream.name, tool): (definition, found)
            for upstream in self.upstreams.values()
            for tool, definition in (upstream.definitions or {}).items()
            if (found := matching(grants, upstream.name, tool))
        }
        waiting = {key for key, (definition, _) in allowed.items() if not self._trust.serves(definition)}
        visible = names(allowed, waiting)
        offers = [
            Offer(name=visible[key], definition=definition, grants=found)
            for key, (definition, found) in allowed.items()
            if key not in waiting
        ]
        return {offer.name: offer for offer in sorted(offers, key=lambda offer: offer.name)}


def shown(offers: Iterable[Offer]) -> list[dict[str, Any]]:
    """As this agent sees them. One that cannot be shown takes no other away."""
    found = []
    for offer in offers:
        try:
            found.append(offer.shown())
        except Exception:
            log.exception("tool left out of a list", server=offer.definition.server, tool=offer.definition.tool)
    return found


def complain(raw: str, arguments: Mapping[str, Any]) -> str:
    """What is wrong with arguments that a person would send instead, by a definition as it was recorded; '' when they
    fit. Any process can say it: nothing is asked of the tool server."""
    return complaints(define("", json.loads(raw)), arguments)
