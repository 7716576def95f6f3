"""`/metrics`: the figures of this process, and what the database knows at this moment. Rules and tools have names in
it, so it wants a token like the rest; Prometheus sends one by `authorization: {credentials: …}`."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from control.approvals import requests
from kit import metrics
from kit.metrics import Gauge
from web import auth
from web.parts import parts

TEXT = "text/plain; version=0.0.4; charset=utf-8"
PENDING = Gauge("preloop_approvals_pending", "Requests that wait for a person.")


async def figures(request: Request) -> Response:
    await auth.person(request)
    PENDING.put(await requests.pending(parts(request).db))
    return PlainTextResponse(metrics.text(), media_type=TEXT)


routes = [Route("/metrics", figures, methods=["GET"])]
