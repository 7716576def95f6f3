"""`POST /api/v1/agent/token`: a container's single-use bootstrap secret becomes its runtime token.

On the containers' listener only. The second one to come gets 409 and its entry script ends before any agent starts;
who was first may ask again with the same `Idempotency-Key`, when its answer was lost with one of us.
"""

from datetime import datetime, timedelta

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from control.identity import sessions
from control.identity.principals import AUDIENCE
from control.tables import executions
from kit import asgi
from kit.clock import rfc3339
from kit.db import Database, Tx
from kit.errors import Fault
from kit.tokens import Signer

PATH = "/api/v1/agent/token"
MAX_KEY = 200


def routes(*, db: Database, signer: Signer) -> list[Route]:
    """The one route; it needs the private key, so role `mcp` serves it."""

    async def exchange(request: Request) -> Response:
        bootstrap = asgi.bearer(request.headers) or ""
        try:
            key = request.headers.get("idempotency-key", "")[:MAX_KEY]
            session_id, latest_end = await db.write(lambda tx: _spend(tx, bootstrap, key))
        except Fault as fault:
            return asgi.problem(fault)
        token = signer.sign(subject=session_id, audience=AUDIENCE, expires_at=latest_end)
        answer = {"token": token, "expires_at": rfc3339(latest_end)}
        return JSONResponse(answer, headers={"cache-control": "no-store"})

    return [Route(PATH, exchange, methods=["POST"])]


def _spend(tx: Tx, bootstrap: str, key: str) -> tuple[str, datetime]:
    """The session and the latest possible end of its run: what the token names and when it expires at the latest."""
    row = sessions.exchange(tx, bootstrap, key)
    wall = sa.select(executions.c.wall_s).where(executions.c.id == row.execution_id)
    return row.id, tx.now() + timedelta(seconds=tx.execute(wall).scalar_one())
