"""`PUT /api/v1/agent/left/{name}`: what an agent left, out of a container that its engine can't read files from.

On the containers' listener only. The entry script brings a tar of each before it tells the agent's end, with the
agent's own token; they wait among the blobs of the execution until `runner/results` reads them, with distrust. The same
name may be brought again: the last one whole is what counts.
"""

import secrets
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from control.executions import results, storage
from control.identity.doorkeeper import Doorkeeper
from control.identity.principals import Principal
from kit import asgi
from kit.blobs import DRAFT, PIECE, Blobs
from kit.db import Database, Tx
from kit.errors import Conflict, Fault, Invalid, Missing, Refused, Unauthorized

PATH = "/api/v1/agent/left/{name}"
LIMIT_S = 300.0
"""For all of one."""


def routes(*, db: Database, doorkeeper: Doorkeeper, blobs: Blobs) -> list[Route]:
    """The one route; role `mcp` serves it, beside the exchange of tokens."""
    bringing: set[str] = set()

    async def take(request: Request) -> Response:
        try:
            token = asgi.bearer(request.headers)
            if not token:
                raise Unauthorized("token_missing", "There is no token.", "The entry script sends the agent's.")
            principal = await doorkeeper.admit(token)
            execution_id = await db.write(partial(_whose, principal=principal))
            if (name := request.path_params["name"]) not in results.HANDED:
                raise Missing("not_found", "There is nothing at this address.")
            if execution_id in bringing:
                raise Conflict("already_bringing", "This execution brings something already.", "One after the other.")
            bringing.add(execution_id)
            try:
                await _store(request, blobs, execution_id, name, partial(doorkeeper.admit, token))
            finally:
                bringing.discard(execution_id)
        except Fault as fault:
            return asgi.problem(fault)
        return Response(status_code=204)

    return [Route(PATH, take, methods=["PUT"])]


def _whose(tx: Tx, principal: Principal) -> str:
    """The execution, where it is to hand over and its account has room."""
    execution_id = principal.execution_id
    if execution_id is None or not results.hands_over(tx, execution_id):
        raise Missing("not_found", "There is nothing at this address.")
    if storage.full(tx, principal.account_id) is not None:
        raise Refused("storage_full", "Storage of the plan is full.", "Delete executions, or shorten retention.")
    return execution_id


async def _store(
    request: Request, blobs: Blobs, execution_id: str, name: str, alive: Callable[[], Awaitable[object]]
) -> None:
    """Whole or not at all, and only while its session lives: that is asked again at its end."""
    draft = f"{results.folder_of(execution_id)}/{secrets.token_hex(8)}{DRAFT}"
    try:
        with anyio.fail_after(LIMIT_S):
            await _write(request, blobs, draft)
            await alive()
            await blobs.hand(draft, results.handed_of(execution_id, name))
    except (ClientDisconnect, TimeoutError) as error:
        raise Invalid("not_whole", f"{name} did not come to its end.", f"{LIMIT_S:.0f} s are given for it.") from error
    finally:
        with anyio.CancelScope(shield=True):
            await blobs.delete(draft)


async def _write(request: Request, blobs: Blobs, draft: str) -> None:
    held, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > results.HANDED_MOST:
            raise Invalid("too_large", f"More than {results.HANDED_MOST >> 20} MB are not taken.", "Leave less.")
        held += chunk
        if len(held) >= PIECE:
            await blobs.append(draft, bytes(held))
            held.clear()
    await blobs.append(draft, bytes(held))
