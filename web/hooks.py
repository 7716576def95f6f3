"""Events from outside: a signed webhook, or a bearer secret for senders that can't sign, becomes an execution.

An unknown flow and a wrong signature get the same answer after the same work: nobody learns which flows there are.
"""

import base64
import hmac
import secrets

import sqlalchemy as sa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from control.executions import intake
from control.tables import flows
from kit import asgi, canonical, webhooks
from kit.errors import Invalid, Unauthorized
from kit.secrets import Sealer
from web.parts import Parts, parts

MAX_ID = 190
"""Characters of a delivery id; its column has 200."""


async def receive(request: Request) -> Response:
    """`POST /hooks/flows/{flow}`: 202 {execution_id, url}; the same webhook-id again gives the same execution."""
    given, name = parts(request), request.path_params["flow"]
    body = await request.body()
    known, secret = await _secret(given, name)
    try:
        delivery_id = _proven(request, secret, body, given.clock.now().timestamp())
    except Unauthorized:
        known, delivery_id = False, None
    if not known:
        raise Unauthorized(
            "webhook_refused",
            "There is no such flow, or the signature is not right.",
            "Sign with the flow's secret as Standard Webhooks describes; `preloop webhooks rotate` makes a new one.",
        )
    payload = _payload(body)
    started = await given.db.write(
        lambda tx: intake.start(
            tx, given.account_id, name, payload, trigger="webhook", by="webhook", delivery_id=delivery_id
        )
    )
    url = f"{given.settings.url}/executions/{started.execution_id}"
    return JSONResponse({"execution_id": started.execution_id, "url": url}, 202)


async def _secret(given: Parts, name: str) -> tuple[bool, str]:
    """Is there such a flow, and a secret to check against: its own, or one that nobody has."""
    mine = (flows.c.account_id == given.account_id) & (flows.c.name == name)
    rows = await given.db.read(sa.select(flows.c.hook_secret).where(mine))
    sealed = rows[0].hook_secret if rows else given.decoy
    return bool(rows), given.sealer.unseal(sealed)


def decoy(sealer: Sealer) -> str:
    """A sealed secret of the usual size that nobody has: an unknown flow costs the work of a known one."""
    return sealer.seal("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())


def _proven(request: Request, secret: str, body: bytes, now: float) -> str | None:
    """The delivery's id once the sender has shown that it knows the secret, else Unauthorized."""
    headers = request.headers
    message_id = headers.get("webhook-id", "")[:MAX_ID]
    token = asgi.bearer(headers)
    if token is not None and "webhook-signature" not in headers:
        if not hmac.compare_digest(token.encode(), secret.encode()):
            raise Unauthorized("webhook_secret", "The secret is not right.")
        return message_id or None
    webhooks.verify(
        secret,
        message_id=headers.get("webhook-id", ""),
        timestamp=headers.get("webhook-timestamp", ""),
        signature=headers.get("webhook-signature", ""),
        body=body,
        now=now,
    )
    if not message_id:
        raise Unauthorized("webhook_id", "The webhook has no id.")
    return message_id


def _payload(body: bytes) -> object:
    try:
        return canonical.parse(body)
    except Invalid as error:
        raise Invalid(
            "payload_invalid", f"The webhook's body can't be used: {error.message}", "Send one JSON value as UTF-8."
        ) from error


async def not_yet(request: Request) -> Response:
    raise asgi.not_yet(
        f"Events from {request.url.path.rsplit('/', 1)[-1]} can't be received yet.",
        "Send a Standard Webhook to /hooks/flows/{flow} for now.",
    )


routes = [
    Route("/hooks/flows/{flow}", receive, methods=["POST"]),
    Route("/hooks/github", not_yet, methods=["POST"]),
    Route("/hooks/gitlab", not_yet, methods=["POST"]),
]
