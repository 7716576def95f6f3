"""A plain tools/call of the newest revision past the SDK: read once, answered as one JSON body.

The SDK stays the reference. Whatever it might judge in its own way (a header, an envelope, a result) is left to it
before anything is done, and a call that takes longer than `FIRST_S`, waits for a person or whose tool has something to
say meanwhile is handed over as it stands.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from mcp.server.connection import Connection
from mcp.server.streamable_http import check_accept_headers
from mcp.server.transport_security import TransportSecurityMiddleware
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    LOG_LEVEL_META_KEY,
    PROTOCOL_VERSION_META_KEY,
    SERVER_INFO_META_KEY,
    CallToolRequestParams,
    methods,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError
from starlette.requests import Request
from starlette.types import Scope

from kit.errors import Unauthorized
from mcp_server import answers
from mcp_server.asked import Answer, Asked, Begun
from mcp_server.calls import FIRST_S, Calls
from mcp_server.catalog import Catalog
from mcp_server.exchange import Exchange
from mcp_server.manner import Manner
from mcp_server.tasks import EXTENSION, only_task
from mcp_server.upstream.upstream import PROTOCOL_ERROR

METHOD = "tools/call"
KEPT = 1000
_VERSIONS = {version.encode(): version for version in MODERN_PROTOCOL_VERSIONS}
_ENVELOPE = {"jsonrpc", "id", "method", "params"}
_PARAMS = {"name", "arguments", "_meta"}
_MIRRORED = b"mcp-param-"
_SENTINEL = "=?"
"""How a header begins that carries more than its text."""
_Guard = tuple[bytes | None, bytes | None, bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """A request that the SDK would take as it is."""

    request_id: int | str
    version: str
    name: str
    arguments: dict[str, Any]
    manner: Manner


class Direct:
    """One listener's plain calls. `stamp` is who answers, in the SDK's words."""

    def __init__(
        self,
        calls: Calls,
        catalog: Catalog,
        security: TransportSecurityMiddleware,
        stamp: Callable[[], dict[str, Any]],
    ) -> None:
        self._calls = calls
        self._catalog = catalog
        self._security = security
        self._stamp = stamp
        self._passed: set[_Guard] = set()
        self.answered = 0
        """How many calls needed nothing of the SDK."""

    async def answer(self, scope: Scope, exchange: Exchange, message: object) -> bool:
        """Answer, and say so; or leave the request to the SDK, with what has begun."""
        plain = await self._plain(scope, exchange, message)
        if plain is None:
            return False
        begun, answer = await self._called(exchange, plain)
        body = self._body(plain, answer.result) if answer is not None else None
        exchange.answer = answer
        if body is None:
            exchange.begun = replace(begun, answer=answer)
            return False
        await exchange.reply(body)
        self.answered += 1
        return True

    async def _called(self, exchange: Exchange, plain: Plain) -> tuple[Begun, Answer | None]:
        """What has begun, and its answer where there is one by now."""
        asked = Asked(
            principal=exchange.principal,
            name=plain.name,
            arguments=plain.arguments,
            fault=None,
            report=_tell_nobody,
            admitted=exchange.admitted,
            attached=_attach_nothing,
            manner=plain.manner,
        )
        try:
            begun = await self._calls.begin(asked)
        except Exception as error:
            return Begun(failed=error), None
        if begun.row is None:
            return begun, begun.answer
        answer = await self._calls.soon(asked, begun, FIRST_S)
        if answer is not None and await _is_over(exchange):
            answer = replace(answer, result=answers.error(answers.OVER), row=None)
        return replace(begun, row=None), answer

    async def _plain(self, scope: Scope, exchange: Exchange, message: object) -> Plain | None:
        """The request, if it is one the SDK has nothing to say about."""
        version, headers = _headers(scope)
        if version is None or not isinstance(message, dict) or message.keys() != _ENVELOPE:
            return None
        params, request_id = message["params"], message["id"]
        if message["jsonrpc"] != "2.0" or message["method"] != METHOD or type(request_id) not in (int, str):
            return None
        if not isinstance(params, dict) or params.keys() != _PARAMS:
            return None
        name, arguments, meta = params["name"], params["arguments"], params["_meta"]
        if not isinstance(name, str) or not isinstance(arguments, dict) or not isinstance(meta, dict):
            return None
        if headers.get(b"mcp-method") != METHOD.encode() or not _names(headers.get(b"mcp-name"), name):
            return None
        offer = (await self._catalog.offers(exchange.principal)).get(name)
        if offer is None or offer.definition.mirrors or only_task(offer.definition.raw):
            return None
        manner = _manner(version, meta)
        if manner is None or not _accepts(headers.get(b"accept", b"")) or not await self._may(scope, headers):
            return None
        return Plain(request_id=request_id, version=version, name=name, arguments=arguments, manner=manner)

    async def _may(self, scope: Scope, headers: Mapping[bytes, bytes]) -> bool:
        """The SDK's check of host, origin and type; what passed once passes again."""
        guard = headers.get(b"host"), headers.get(b"origin"), headers.get(b"content-type")
        if guard not in self._passed:
            if await self._security.validate_request(Request(scope), is_post=True) is not None:
                return False
            if len(self._passed) >= KEPT:
                self._passed.clear()
            self._passed.add(guard)
        return True

    def _body(self, plain: Plain, result: answers.Result) -> bytes | None:
        """The response, None where the SDK must say what becomes of such a result."""
        if "resultType" in result or PROTOCOL_ERROR in (result.get("_meta") or {}):
            return None
        try:
            shaped = methods.serialize_server_result(METHOD, plain.version, answers.COMPLETE | result)
        except ValidationError:
            return None
        shaped["_meta"] = {**(shaped.get("_meta") or {}), SERVER_INFO_META_KEY: self._stamp()}
        body = {"jsonrpc": "2.0", "id": plain.request_id, "result": shaped}
        return json.dumps(body, separators=(",", ":")).encode()


def _headers(scope: Scope) -> tuple[str | None, Mapping[bytes, bytes]]:
    """(the revision, the headers); no revision where one header came twice or repeats an argument."""
    headers = dict(scope["headers"])
    odd = len(headers) != len(scope["headers"]) or any(name.startswith(_MIRRORED) for name in headers)
    return None if odd else _VERSIONS.get(headers.get(b"mcp-protocol-version", b"")), headers


def _names(header: bytes | None, name: str) -> bool:
    said = (header or b"").decode("latin-1")
    return said == name and not said.startswith(_SENTINEL)


@lru_cache(maxsize=KEPT)
def _accepts(header: bytes) -> bool:
    return all(check_accept_headers(Request({"type": "http", "headers": [(b"accept", header)]})))


def _manner(version: str, meta: Mapping[str, Any]) -> Manner | None:
    """How the call goes upstream, None where the envelope is not plain."""
    token = meta.get("progressToken")
    if token is not None and type(token) not in (int, str):
        return None
    rest = {key: value for key, value in meta.items() if key != "progressToken"} if "progressToken" in meta else meta
    manner = _enveloped(version, json.dumps(rest))
    return replace(manner, progress=True) if manner is not None and token is not None else manner


@lru_cache(maxsize=KEPT)
def _enveloped(version: str, text: str) -> Manner | None:
    """The same for an envelope without what changes from call to call, judged by the SDK's own models."""
    meta = json.loads(text)
    params = {"name": "", "arguments": {}, "_meta": meta}
    if meta.get(PROTOCOL_VERSION_META_KEY) != version:
        return None
    try:
        methods.validate_client_request(METHOD, version, params)
        CallToolRequestParams.model_validate(params, by_name=False)
    except ValidationError:
        return None
    said, info = meta.get(CLIENT_CAPABILITIES_META_KEY), meta.get(CLIENT_INFO_META_KEY)
    declared = Connection.from_envelope(version, info, said).client_capabilities
    if declared is None or EXTENSION in (declared.extensions or {}):
        return None
    level = meta.get(LOG_LEVEL_META_KEY)
    return Manner(
        capabilities=declared.model_dump(by_alias=True, mode="json", exclude_none=True),
        log_level=level if isinstance(level, str) else None,
        older=False,
    )


async def _is_over(exchange: Exchange) -> bool:
    try:
        await exchange.admitted()
    except Unauthorized:
        return True
    return False


async def _tell_nobody(message: str, *, waiting: bool) -> None:
    """What is told meanwhile ends our part before it is said."""


def _attach_nothing(call_id: str) -> None:
    """Whoever takes the call over hears of its row."""
