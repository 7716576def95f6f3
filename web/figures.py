"""`/metrics`: the figures of this process, and in role `web` what the database knows of the plane at this moment.

Rules and tools have names in it, so it wants a token like the rest; Prometheus sends one by
`authorization: {credentials: …}`.
"""

from datetime import datetime

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from control import outbox
from control.approvals import requests
from control.executions.census import census
from kit import metrics
from kit.metrics import Gauge
from web import auth
from web.parts import parts

TEXT = "text/plain; version=0.0.4; charset=utf-8"
STATES = Gauge("preloop_executions", "Executions that are not over.", "state", of_plane=True)
OLDEST = Gauge("preloop_queue_oldest_seconds", "Age of the oldest that may start; 0 for none.", of_plane=True)
PENDING = Gauge("preloop_approvals_pending", "Requests that wait for a person.", of_plane=True)
ASKED = Gauge("preloop_approvals_oldest_seconds", "Age of the oldest of them; 0 for none.", of_plane=True)
OUTBOX = Gauge("preloop_outbox_waiting", "Notices and webhooks that are to be sent.", of_plane=True)


async def own(request: Request) -> Response:
    """What this process counted."""
    await auth.person(request)
    return PlainTextResponse(metrics.text(), media_type=TEXT)


async def all_(request: Request) -> Response:
    """And how the plane stands."""
    await auth.person(request)
    given = parts(request)
    now = given.clock.now()
    standing = await census(given.db, now)
    for state in ("pending", "running", "waiting_for_approval"):
        STATES.put(getattr(standing, state), state)
    pending, asked = await requests.pending(given.db)
    PENDING.put(pending)
    OLDEST.put(_age(standing.oldest, now))
    ASKED.put(_age(asked, now))
    OUTBOX.put(await outbox.depth(given.db))
    return PlainTextResponse(metrics.text(plane=True), media_type=TEXT)


def _age(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since else 0.0


routes = [Route("/metrics", all_, methods=["GET"])]
bare = [Route("/metrics", own, methods=["GET"])]
"""Of a process without pages."""
