"""Events from outside: a signed webhook, or a bearer secret for senders that can't sign, becomes an execution.

An unknown flow and a wrong signature get the same answer after the same work: nobody learns which flows there are.
Code hosts have schemes of their own, in `code_hosts`.
"""

import hmac
import math
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from control.executions import intake
from control.flows import hook_secrets
from kit import asgi, canonical, traces, webhooks
from kit.errors import Invalid, Throttled, Unauthorized
from kit.limits import Pace
from kit.secrets import Sealer
from web.parts import Parts, parts

MAX_ID = 190
"""Characters of a delivery id that are kept as they are; its column has 200."""
VALID = 2
"""Secrets that a delivery is compared with: the one there is and the one before it, or what stands in for them."""


async def receive(request: Request) -> Response:
    """`POST /hooks/flows/{flow}`: 202 {execution_id, url}; the same webhook-id again gives the same execution."""
    given, name = parts(request), request.path_params["flow"]
    body, now = await request.body(), given.clock.now()
    known = await hook_secrets.of_flow(given.db, given.account_id, name, now)
    try:
        delivery_id = _proven(request, opened(given, known), body, now.timestamp())
    except Unauthorized:
        known, delivery_id = [], None
    if not known:
        raise refusal(given, f"flow {name}", "There is no such flow, or the signature is not right.")
    await admitted(given, f"flow {name}", name)
    payload = read(body)
    started = await given.db.write(
        lambda tx: intake.start(
            tx,
            given.account_id,
            name,
            payload,
            trigger="webhook",
            by="webhook",
            delivery_id=delivery_id,
            most_pending=given.settings.max_pending,
            traceparent=traces.traceparent(request.headers.get("traceparent")),
        )
    )
    url = f"{given.settings.url}/executions/{started.execution_id}"
    return JSONResponse({"execution_id": started.execution_id, "url": url}, 202)


def opened(given: Parts, sealed: Sequence[str]) -> list[str]:
    """The secrets to compare with, in clear; always as many, so that what isn't there costs the work of what is."""
    return [given.sealer.unseal(one) for one in (*sealed, given.decoy, given.decoy)[:VALID]]


def decoy(sealer: Sealer) -> str:
    """A sealed secret of the usual size that nobody has."""
    return sealer.seal(hook_secrets.fresh())


def refusal(given: Parts, key: str, message: str) -> Exception:
    """What a sender is told that could not show that it knows the secret; after many of these, to come more slowly."""
    paced(given.refused, key, "More deliveries were refused than are looked at.")
    hint = "Sign with the secret as docs/triggers.md describes; `preloop webhooks rotate` makes a new one."
    return Unauthorized("webhook_refused", message, hint)


async def admitted(given: Parts, key: str, flow: str) -> None:
    """One more proven delivery for a flow, or Throttled."""
    if wait_s := await given.deliveries.take(given.account_id, key):
        raise _throttled(wait_s, f"More deliveries for the flow {flow!r} came than are taken at once.")


def paced(pace: Pace, key: str, message: str) -> None:
    """One more for this key, or Throttled."""
    if not pace.take(key):
        raise _throttled(pace.wait_s(key), message)


def _throttled(wait_s: float, message: str) -> Throttled:
    wait = max(1, math.ceil(wait_s))
    hint = f"Send it again in {wait} s, with the same id; server.deliveries_per_minute says how many are taken."
    return Throttled("too_often", message, hint, retry_after_s=wait)


def is_one_of(token: str, secrets: Sequence[str]) -> bool:
    """Is this one of the secrets? Compared with all of them, each in constant time."""
    return any([hmac.compare_digest(token.encode(), secret.encode()) for secret in secrets])


def is_signed(request: Request, secrets: Sequence[str], body: bytes, now: float) -> bool:
    """Does a signature of Standard Webhooks hold, by one of the secrets?"""
    names = {"message_id": "webhook-id", "timestamp": "webhook-timestamp", "signature": "webhook-signature"}
    said = {name: request.headers.get(header, "") for name, header in names.items()}
    return any([_holds(secret, said, body, now) for secret in secrets])


def _holds(secret: str, said: dict[str, str], body: bytes, now: float) -> bool:
    try:
        webhooks.verify(secret, **said, body=body, now=now)
    except Unauthorized:
        return False
    return True


def _proven(request: Request, secrets: Sequence[str], body: bytes, now: float) -> str | None:
    """The delivery's id once the sender has shown that it knows a secret, else Unauthorized."""
    message_id = request.headers.get("webhook-id", "")
    token = asgi.bearer(request.headers)
    if token is not None and "webhook-signature" not in request.headers:
        if not is_one_of(token, secrets):
            raise Unauthorized("webhook_secret", "The secret is not right.")
        return _kept(message_id) or None
    if not is_signed(request, secrets, body, now) or not message_id:
        raise Unauthorized("webhook_signature", "The webhook's signature or id is not right.")
    return _kept(message_id)


def _kept(message_id: str) -> str:
    """A delivery's id as it is remembered."""
    return message_id if len(message_id) <= MAX_ID else f"sha256:{canonical.digest(message_id)}"


def read(body: bytes) -> object:
    """A delivery's JSON."""
    try:
        return canonical.parse(body)
    except Invalid as error:
        hint = "Send one JSON value as UTF-8; where a sender asks for a content type, it is application/json."
        raise Invalid("payload_invalid", f"The webhook's body can't be used: {error.message}", hint) from error


routes = [Route("/hooks/flows/{flow}", receive, methods=["POST"])]
