"""A session of the older wire with an upstream, for one request of one client that may be asked back in mid-call.

Shared connections declare nothing; here the client's own capabilities are declared, and what the upstream asks can be
for nobody else. It costs three requests more, so it is made only where the settings let an upstream ask at all.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER
from mcp_types import Implementation
from mcp_types.version import LATEST_HANDSHAKE_VERSION

from mcp_server.upstream.pool import Pool
from mcp_server.upstream.post import Broken, Message, Post

OPEN_S = 10.0
CLOSE_S = 2.0


@asynccontextmanager
async def private(pool: Pool, capabilities: Mapping[str, Any], us: Implementation) -> AsyncIterator[Post]:
    """Open inside of this context; Broken (never sent) when there is none to be had."""
    with anyio.fail_after(OPEN_S):
        headers = await _open(pool, capabilities, us)
    try:
        yield Post(pool, headers)
    finally:
        with anyio.move_on_after(CLOSE_S, shield=True):
            await _close(pool, headers)


async def _open(pool: Pool, capabilities: Mapping[str, Any], us: Implementation) -> dict[str, str]:
    """The headers of a new session."""
    opening = Post(pool, {})
    params: Message = {
        "protocolVersion": LATEST_HANDSHAKE_VERSION,
        "capabilities": dict(capabilities),
        "clientInfo": {"name": us.name, "version": us.version},
    }
    try:
        answer = await opening.ask("initialize", params, headers={})
    except Broken as error:
        raise Broken(error.reason, sent=False) from error
    if "result" not in answer:
        raise Broken("it opens no session of the older protocol", sent=False)
    headers = {MCP_PROTOCOL_VERSION_HEADER: str(answer["result"].get("protocolVersion"))}
    if opening.session_id:
        headers["mcp-session-id"] = opening.session_id
    await Post(pool, headers).tell("notifications/initialized")
    return headers


async def _close(pool: Pool, headers: dict[str, str]) -> None:
    try:
        async with pool.ask("DELETE", headers):
            pass
    except OSError:
        pass  # it forgets the session in its own time
