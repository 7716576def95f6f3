"""What upstreams offer besides tools: prompts, resources, templates, completion, and their logs. Passed through where
the charter of a session names the server at all; what comes back is theirs, the envelope is ours.

Lists of several servers are joined. Two prompts of one name are told apart as tools are; a resource two servers have is
the first one's. Nothing here is gated: an upstream whose resources are secrets has no business in a charter.
"""

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from mcp.server import Server
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    CompleteRequestParams,
    GetPromptRequestParams,
    PaginatedRequestParams,
    ReadResourceRequestParams,
    SetLevelRequestParams,
)

from control.approvals.policy import names_server
from control.identity.principals import Principal
from kit.observe import log
from mcp_server.answers import COMPLETE, theirs
from mcp_server.catalog import Catalog
from mcp_server.hearing import Context, Hearing, exchange_of, is_older, session_of
from mcp_server.manner import Message
from mcp_server.schema import names
from mcp_server.upstream.line import listed
from mcp_server.upstream.post import Broken
from mcp_server.upstream.upstream import Upstream

FRESH_S = 5.0
"""How long a list of one upstream is believed."""
OLD_NOT_FOUND = -32002
"""A resource nobody has, before 2026-07-28."""
LEVELS = 10_000
"""Sessions whose log level is remembered."""
RESOURCES = "resources/list"
LISTS = {
    "prompts/list": "prompts",
    RESOURCES: "resources",
    "resources/templates/list": "resourceTemplates",
}
OURS = COMPLETE | {"ttlMs": int(FRESH_S * 1000), "cacheScope": "private"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One prompt, resource or template, and whose it is."""

    upstream: Upstream
    raw: Message


class Passthrough:
    """Shares `levels`, the log levels of sessions of the older wire, with the calls."""

    def __init__(self, catalog: Catalog, levels: MutableMapping[str, str]) -> None:
        self._catalog = catalog
        self._levels = levels
        self._kept: dict[tuple[str, str], tuple[float, list[Message]]] = {}

    def register(self, server: Server[Any]) -> None:
        for method in LISTS:
            server.add_request_handler(method, PaginatedRequestParams, self._lister(method))
        server.add_request_handler("prompts/get", GetPromptRequestParams, self._get_prompt)
        server.add_request_handler("resources/read", ReadResourceRequestParams, self._read)
        server.add_request_handler("completion/complete", CompleteRequestParams, self._complete)
        server.add_request_handler("logging/setLevel", SetLevelRequestParams, self._set_level)

    def allowed(self, principal: Principal) -> list[Upstream]:
        """The servers this session has anything to do with."""
        tools = principal.charter.tools
        return [upstream for name, upstream in self._catalog.upstreams.items() if names_server(tools, name)]

    async def whose(self, principal: Principal, uris: Sequence[str]) -> dict[str, frozenset[str]]:
        """Who may be asked about each resource: the servers that list it, or all that the charter names."""
        if not uris:
            return {}
        allowed = frozenset(upstream.name for upstream in self.allowed(principal))
        listed = [(entry.raw.get("uri"), entry.upstream.name) for entry in await self._entries(principal, RESOURCES)]
        return {uri: frozenset(name for known, name in listed if known == uri) or allowed for uri in uris}

    # lists ----------------------------------------------------------------------------------------------------------

    def _lister(self, method: str) -> Callable[[Context, PaginatedRequestParams], Awaitable[Message]]:
        async def answer(ctx: Context, params: PaginatedRequestParams) -> Message:
            found = await self._entries(exchange_of(ctx).principal, method)
            if method == "prompts/list":
                return OURS | {"prompts": [entry.raw | {"name": name} for name, entry in _prompts(found).items()]}
            key = "uri" if method == RESOURCES else "uriTemplate"
            unique = {str(entry.raw.get(key)): entry.raw for entry in reversed(found)}
            return OURS | {LISTS[method]: list(reversed(unique.values()))}

        return answer

    async def _entries(self, principal: Principal, method: str) -> list[Entry]:
        """What all allowed servers list; one that is down or has none of it lists nothing."""
        upstreams = self.allowed(principal)
        lists: dict[str, list[Message]] = {}

        async def fetch(upstream: Upstream) -> None:
            lists[upstream.name] = await self._list(upstream, method)

        async with anyio.create_task_group() as asking:
            for upstream in upstreams:
                asking.start_soon(fetch, upstream)
        return [Entry(upstream=upstream, raw=raw) for upstream in upstreams for raw in lists[upstream.name]]

    async def _list(self, upstream: Upstream, method: str) -> list[Message]:
        until, kept = self._kept.get((upstream.name, method), (0.0, []))
        if anyio.current_time() < until:
            return kept
        found: list[Message] = []
        try:
            asked = partial(upstream.ask, method, within=upstream.timeout_s)
            found = await listed(asked, LISTS[method])
        except (Broken, TimeoutError) as error:
            log.warning("list not reached", server=upstream.name, method=method, reason=str(error))
            return []
        except MCPError as error:
            if error.code != METHOD_NOT_FOUND:
                log.warning("list refused", server=upstream.name, method=method, reason=error.message)
        self._kept[upstream.name, method] = (anyio.current_time() + FRESH_S, found)
        return found

    # single things --------------------------------------------------------------------------------------------------

    async def _get_prompt(self, ctx: Context, params: GetPromptRequestParams) -> Message:
        entry = await self._prompt(ctx, params.name)
        asked = _without_meta(ctx) | {"name": entry.raw["name"]}
        return _passed(await self._ask(ctx, entry.upstream, "prompts/get", asked))

    async def _prompt(self, ctx: Context, name: str) -> Entry:
        found = _prompts(await self._entries(exchange_of(ctx).principal, "prompts/list")).get(name)
        if found is None:
            raise MCPError(code=INVALID_PARAMS, message=f"Unknown prompt: {name}")
        return found

    async def _read(self, ctx: Context, params: ReadResourceRequestParams) -> Message:
        return OURS | _passed(await self._first(ctx, "resources/read", str(params.uri), _without_meta(ctx)))

    async def _complete(self, ctx: Context, params: CompleteRequestParams) -> Message:
        asked = _without_meta(ctx)
        reference = asked["ref"]
        if reference["type"] == "ref/prompt":
            entry = await self._prompt(ctx, reference["name"])
            asked["ref"] = reference | {"name": entry.raw["name"]}
            return _passed(await self._ask(ctx, entry.upstream, "completion/complete", asked))
        return _passed(await self._first(ctx, "completion/complete", reference["uri"], asked))

    async def _set_level(self, ctx: Context, params: SetLevelRequestParams) -> Message:
        """Kept here: each request upstream then says what its client wants to hear."""
        if len(self._levels) >= LEVELS:
            self._levels.clear()
        self._levels[session_of(ctx)] = params.level
        return {}

    async def _first(self, ctx: Context, method: str, uri: str, asked: Message) -> Message:
        """The answer of the server that has a resource: who lists it is asked first, then the others."""
        principal = exchange_of(ctx).principal
        listed = await self._entries(principal, RESOURCES)
        owners = [entry.upstream for entry in listed if entry.raw.get("uri") == uri]
        code = OLD_NOT_FOUND if is_older(ctx) else INVALID_PARAMS
        refusal = MCPError(code=code, message="Resource not found", data={"uri": uri})
        for upstream in dict.fromkeys([*owners, *self.allowed(principal)]):
            try:
                return await self._ask(ctx, upstream, method, asked)
            except MCPError as error:
                refusal = error if error.code != METHOD_NOT_FOUND else refusal
        raise refusal

    async def _ask(self, ctx: Context, upstream: Upstream, method: str, asked: Message) -> Message:
        manner = Hearing(ctx, self._levels).manner()
        try:
            return await upstream.ask(method, asked, within=upstream.timeout_s, manner=manner)
        except (Broken, TimeoutError) as error:
            text = f"The tool server '{upstream.name}' does not answer."
            raise MCPError(code=INTERNAL_ERROR, message=text) from error


def _prompts(found: Sequence[Entry]) -> dict[str, Entry]:
    """Visible name → prompt, told apart as tools are."""
    owned = {(entry.upstream.name, str(entry.raw.get("name"))): entry for entry in found}
    visible = names(owned)
    return {visible[key]: entry for key, entry in owned.items()}


def _without_meta(ctx: Context) -> Message:
    """The parameters as they came; the envelope is made anew for each hop."""
    return {name: value for name, value in (ctx.params or {}).items() if name != "_meta"}


def _passed(result: Message) -> Message:
    """A result without what only concerns the hop to the upstream."""
    meta = theirs(result)
    kept = {key: value for key, value in result.items() if key not in ("_meta", "ttlMs", "cacheScope")}
    return COMPLETE | kept | ({"_meta": meta} if meta else {})
