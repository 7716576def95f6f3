"""The people's listener: pages, REST, hooks, approval links and operations, inside the layers of `kit/asgi`."""

from collections.abc import Mapping
from functools import partial

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from control.approvals.desk import Desk
from control.flows.review import Known
from control.paces import rates
from kit import asgi
from kit.blobs import Blobs
from kit.bus import Bus
from kit.db import Database
from kit.errors import Fault, Missing
from kit.observe import log
from kit.secrets import Sealer
from ledger.limits import Limits
from web import (
    approvals,
    artifacts,
    audit,
    auth,
    budgets,
    code_hosts,
    dashboard,
    executions,
    figures,
    flow_files,
    flows,
    grants,
    hook_secrets,
    hooks,
    in_force,
    links,
    live,
    models,
    oidc,
    openapi,
    policy,
    preferences,
    rendering,
    repricing,
    run,
    sessions,
    spend,
    tokens,
    tools,
    users,
)
from web.parts import Check, Operated, Parts, Upstreams, parts
from web.render import BUILD, STATIC, fault_page
from web.settings import WebSettings

READY_S = 2.0
"""How long one check of /readyz may take."""
PROGRAMS = ("/api/", "/hooks/", "/healthz", "/readyz", "/metrics")
ROOMS = (
    *(
        dashboard,
        executions,
        run,
        artifacts,
        flows,
        flow_files,
        rendering,
        approvals,
        grants,
        policy,
        budgets,
        spend,
        repricing,
    ),
    *(sessions, tools, models, users, tokens, hook_secrets, in_force, audit),
)


def build(
    *,
    settings: WebSettings,
    db: Database,
    bus: Bus,
    sealer: Sealer,
    blobs: Blobs,
    desk: Desk,
    known: Known,
    checks: Mapping[str, Check] | None = None,
    limits: Limits | None = None,
    upstreams: Upstreams | None = None,
    operated: Operated | None = None,
    pages: bool = True,
    shared: bool = False,
) -> Starlette:
    """The application; `checks` are the named questions of /readyz, each awaited with a limit of its own. Without
    `pages` it is what other roles show: addresses of operations. `shared`: deliveries elsewhere count too."""
    app = Starlette(
        routes=_routes(settings) if pages else [*figures.bare, *_operations()],
        middleware=_layers(settings),
        exception_handlers={HTTPException: _as_fault},
    )
    app.state.opened_by = auth.opened_by(app.routes)
    app.state.parts = Parts(
        settings=settings,
        db=db,
        bus=bus,
        sealer=sealer,
        blobs=blobs,
        decoy=hooks.decoy(sealer),
        deliveries=rates(db, shared=shared)("deliveries", settings.deliveries_per_minute),
        desk=desk,
        known=known,
        checks=dict(checks or {}),
        limits=limits or Limits(),
        upstreams=upstreams,
        operated=operated or Operated(),
    )
    return app


def _routes(settings: WebSettings) -> list[BaseRoute]:
    operations = [operation for room in ROOMS for operation in room.operations]
    return [
        *(route for room in ROOMS for route in room.routes),
        *auth.routes,
        *(oidc.routes if settings.oidc else []),
        *preferences.routes,
        *links.routes,
        *hooks.routes,
        *code_hosts.routes,
        *live.routes,
        *openapi.routes(operations),
        openapi.described(operations, settings.url),
        *figures.routes,
        *_operations(),
        Route("/favicon.ico", favicon, methods=["GET"]),
        Mount("/static/" + BUILD, _kept(StaticFiles(directory=STATIC))),
    ]


def _layers(settings: WebSettings) -> list[Middleware]:
    """What every request passes, outermost first."""
    return [
        Middleware(asgi.Requests, shown=links.shown_path),
        Middleware(asgi.Headers, headers=asgi.PAGE_HEADERS | (asgi.HSTS if settings.secure else {})),
        Middleware(asgi.Faults, answer=_face),
        Middleware(asgi.Hosts, allowed=settings.names),
        Middleware(asgi.SameOrigin),
        Middleware(asgi.Bodies, limit=settings.max_body_bytes),
    ]


def _operations() -> list[Route]:
    return [Route(path, answer, methods=["GET"]) for path, answer in (("/healthz", healthy), ("/readyz", ready))]


_kept = partial(asgi.Headers, headers={"cache-control": "public, max-age=31536000, immutable"})


def _face(scope: Scope, fault: Fault) -> Response:
    """problem+json for programs; a page for whoever takes HTML."""
    request = Request(scope)
    number = asgi.request_id(scope)
    if scope["path"].startswith(PROGRAMS) or "text/html" not in request.headers.get("accept", ""):
        return asgi.problem(fault, number)
    return fault_page(request, fault, number)


_HTTP = {
    404: ("not_found", "There is nothing at this address."),
    405: ("method_not_allowed", "This address does not take that method."),
}


async def _as_fault(request: Request, error: Exception) -> Response:
    """Starlette's own refusals join our tree of errors."""
    assert isinstance(error, HTTPException)
    code, message = _HTTP.get(error.status_code, ("bad_request", str(error.detail)))
    hint = "/api/openapi.json lists what there is." if request.url.path.startswith("/api/") else ""
    if error.status_code == 404:
        raise Missing(code, message, hint) from error
    raise asgi.refusal(error.status_code, code, message, hint) from error


async def healthy(request: Request) -> Response:
    """The process answers; nothing else is asked."""
    return PlainTextResponse("ok\n")


async def ready(request: Request) -> Response:
    """Does every part answer? 503 names those that don't."""
    answers: dict[str, str] = {}
    for name, check in parts(request).checks.items():
        answers[name] = await _asked(name, check)
    well = all(answer == "ok" for answer in answers.values())
    return JSONResponse({"ready": well, "checks": answers}, 200 if well else 503)


async def _asked(name: str, check: Check) -> str:
    try:
        with anyio.fail_after(READY_S):
            await check()
    except TimeoutError:
        return f"no answer in {READY_S:g} s"
    except Fault as fault:
        return fault.message
    except Exception:
        log.exception("readiness check failed", check=name)
        return "failed"
    return "ok"


async def favicon(request: Request) -> Response:
    return RedirectResponse(f"/static/{BUILD}/icon.svg", 308)
