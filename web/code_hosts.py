"""Events of GitHub and GitLab, in their own schemes. One delivery may start several flows, or none.

Their delivery ids are outside of what they sign, so the body's digest is the guard against replays.
"""

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from control.executions import intake
from control.flows import catalog, github, gitlab, hook_secrets, triggers
from control.flows.triggers import Event
from kit import traces
from kit.errors import Fault
from web import hooks
from web.parts import Parts, parts

SECRET_UNKNOWN = "The signature or the secret is not right, or no secret was made for this sender."


async def from_github(request: Request) -> Response:
    """`POST /hooks/github`. docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries"""
    given, body = parts(request), await request.body()
    secrets = await _secrets(given, "github")
    signature = request.headers.get("x-hub-signature-256", "")
    if not hooks.is_one_of(signature, [_signature(secret, body) for secret in secrets[1]]) or not secrets[0]:
        raise hooks.refusal(given, "github", SECRET_UNKNOWN)
    kind, payload = request.headers.get("x-github-event", ""), hooks.read(body)
    delivery = request.headers.get("x-github-delivery")
    return await _start(request, kind, github.read(kind, payload), payload, body, delivery)


async def from_gitlab(request: Request) -> Response:
    """`POST /hooks/gitlab`: with a signing token (Standard Webhooks, which then has to hold), or with the secret token.
    docs.gitlab.com/user/project/integrations/webhooks"""
    given, body = parts(request), await request.body()
    known, secrets = await _secrets(given, "gitlab")
    if "webhook-signature" in request.headers:
        proven = hooks.is_signed(request, secrets, body, given.clock.now().timestamp())
    else:
        proven = hooks.is_one_of(request.headers.get("x-gitlab-token", ""), secrets)
    if not proven or not known:
        raise hooks.refusal(given, "gitlab", SECRET_UNKNOWN)
    kind, payload = request.headers.get("x-gitlab-event", ""), hooks.read(body)
    delivery = request.headers.get("idempotency-key") or request.headers.get("x-gitlab-event-uuid")
    return await _start(request, kind, gitlab.read(payload), payload, body, delivery)


def _signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def _secrets(given: Parts, kind: str) -> tuple[bool, Sequence[str]]:
    """Was a secret made for this sender, and what to compare with."""
    known = await hook_secrets.of_sender(given.db, given.account_id, kind, given.clock.now())
    return bool(known), hooks.opened(given, known)


async def _start(
    request: Request, kind: str, event: Event | None, payload: object, body: bytes, delivery: str | None
) -> Response:
    """202 with the executions; 200 when no flow is started by this event; an error when every flow refused it."""
    given = parts(request)
    if event is None:
        return JSONResponse({"executions": [], "ignored": f"Nothing is started by {kind[:60]!r}."})
    answer: dict[str, Any] = {"event": event.event, "action": event.action}
    names = [
        name
        for name, flow in await catalog.started_by(given.db, given.account_id, event.type)
        if any(triggers.matches(trigger, event) for trigger in flow.triggers)
    ]
    if not names:
        return JSONResponse(answer | {"executions": [], "ignored": "No flow's trigger lets this event through."})
    made, faults = [], {}
    for name in names:
        try:
            made.append(await _started(request, name, event, payload, body, delivery))
        except Fault as fault:
            faults[name] = fault
    if not made:
        raise next(iter(faults.values()))
    refused = [{"flow": name, "code": fault.code, "detail": fault.message} for name, fault in faults.items()]
    first = {key: made[0][key] for key in ("execution_id", "url")}
    return JSONResponse(answer | first | {"executions": made, "refused": refused}, 202)


async def _started(
    request: Request, name: str, event: Event, payload: object, body: bytes, delivery: str | None
) -> Mapping[str, Any]:
    """What one flow makes of it."""
    given = parts(request)
    await hooks.admitted(given, f"{event.type} {name}", name)
    about = {key: value for key, value in asdict(event).items() if value not in (None, (), False)}
    if delivery:
        about["delivery"] = delivery[: hooks.MAX_ID]
    started = await given.db.write(
        lambda tx: intake.start(
            tx,
            given.account_id,
            name,
            payload,
            trigger=event.type,
            by=f"{event.type}:{event.sender}",
            about=about,
            delivery_id=f"{event.type}:{hashlib.sha256(body).hexdigest()}",
            source_url=event.url,
            most_pending=given.settings.max_pending,
            traceparent=traces.traceparent(request.headers.get("traceparent")),
        )
    )
    url = f"{given.settings.url}/executions/{started.execution_id}"
    return {"flow": name, "execution_id": started.execution_id, "url": url, "repeated": started.repeated}


routes = [
    Route("/hooks/github", from_github, methods=["POST"]),
    Route("/hooks/gitlab", from_gitlab, methods=["POST"]),
]
