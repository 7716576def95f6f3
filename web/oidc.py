"""Signing in by an OpenID Connect provider: off to it and back, and who one is here then.

What the way back is checked against is sealed in a cookie of that browser alone. `issuer` speaks to the provider.
"""

import hmac
import json
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from control.identity import vouched
from control.identity.principals import RANK, Role
from kit.errors import Fault, Invalid, Refused, Unauthorized
from kit.outbound import Outbound
from web import auth, inputs
from web.parts import parts
from web.settings import OidcSettings, WebSettings

if TYPE_CHECKING:
    from web.issuer import Issuer

START, BACK = "/signin/oidc", "/signin/oidc/callback"
WAY_FOR = timedelta(minutes=10)
"""How long somebody may take to sign in at the provider."""
LONGEST = 1000
"""Characters of an address to go on to, as JSON: a cookie has to hold it."""
_EMAIL = re.compile(r"[!-?A-~]+@([!-?A-~]+)", re.ASCII)


@asynccontextmanager
async def opened(settings: WebSettings) -> AsyncIterator["Issuer | None"]:
    """The provider that is set, if one is; Invalid where the extra is not installed."""
    if settings.oidc is None:
        yield None
        return
    try:
        from web.issuer import Issuer
    except ImportError as error:
        raise Invalid(
            "oidc_missing",
            "[server.oidc] is set, and Authlib is not installed.",
            "Install the extras: `make extras`, or take [server.oidc] out of preloop.toml.",
        ) from error
    host = urlsplit(settings.oidc.issuer).hostname or ""
    outbound = Outbound(private_hosts=(host,), hint="Only the issuer's own host may be at a private address.")
    try:
        yield Issuer(settings.oidc, settings.url + BACK, outbound)
    finally:
        await outbound.close()


async def start(request: Request) -> Response:
    """Off to the provider; the browser takes along what it must bring back."""
    further = inputs.local(request.query_params.get("next", "/"))
    way = {name: secrets.token_urlsafe(48) for name in ("state", "nonce", "verifier")}
    try:
        answer = RedirectResponse(await _issuer(request).address(**way), 303)
    except Fault as fault:
        return auth.sign_in_face(request, further, fault=fault)
    given = parts(request)
    until = (given.clock.now() + WAY_FOR).timestamp()
    kept = {"for": START, "until": until, "next": further if len(json.dumps(further)) <= LONGEST else "/", **way}
    answer.set_cookie(
        _cookie_name(request),
        given.sealer.seal(json.dumps(kept)),
        max_age=int(WAY_FOR.total_seconds()),
        path="/",
        secure=given.settings.secure,
        httponly=True,
        samesite="lax",
    )
    return answer


async def back(request: Request) -> Response:
    """Back from the provider, once: signed in and on to where one wanted to go, or the page that says why not."""
    further = "/"
    try:
        way = _way(request)
        further = way["next"]
        clear = await _signed_in(request, way)
    except Fault as fault:
        answer = auth.sign_in_face(request, further, fault=fault)
    else:
        answer = RedirectResponse(further, 303)
        auth.set_cookie(request, answer, clear)
    answer.delete_cookie(_cookie_name(request), path="/", secure=parts(request).settings.secure, httponly=True)
    return answer


async def _signed_in(request: Request, way: Mapping[str, Any]) -> str:
    """A cookie, in clear, for whom the provider vouches."""
    given, asked = parts(request), request.query_params
    if "error" in asked or not asked.get("code"):
        said = asked.get("error", "")[:60]
        raise Refused("signin_declined", f"You were not signed in there ({said or 'no code'}).", "Sign in again.")
    now = int(given.clock.now().timestamp())
    claims = await _issuer(request).claims(asked["code"], way["nonce"], way["verifier"], now)
    settings = _settings(request)
    email, role = _email(claims, settings), _role(claims, settings)
    name = _plain(claims.get("name")) or email.partition("@")[0]
    whose = {"email": email, "name": name, "subject": _plain(claims["sub"]), "by": settings.issuer}
    follow = bool(settings.roles_claim)
    return await given.db.write(lambda tx: vouched.sign_in(tx, given.account_id, role=role, follow=follow, **whose))


def _way(request: Request) -> dict[str, Any]:
    """What this browser took along, if it is what came back."""
    given = parts(request)
    try:
        way = json.loads(given.sealer.unseal(request.cookies.get(_cookie_name(request), "")))
        known = way["for"] == START and given.clock.now().timestamp() < way["until"]
    except (Fault, ValueError, TypeError, KeyError):
        known = False
    state = request.query_params.get("state", "")
    if not known or not hmac.compare_digest(state.encode(), way["state"].encode()):
        text = "This sign-in did not begin in this browser, or took too long."
        raise Unauthorized("signin_foreign", text, "Sign in again, in one tab.")
    return cast(dict[str, Any], way)


def _email(claims: Mapping[str, Any], settings: OidcSettings) -> str:
    """The address, verified there and let in here."""
    email = claims.get("email")
    found = _EMAIL.fullmatch(email) if isinstance(email, str) and len(email) <= 200 else None
    if found is None or not isinstance(email, str):
        text = "The service that signs you in names no e-mail address of yours."
        raise Refused("email_missing", text, "Its admin lets the id token have `email` and `email_verified`.")
    if claims.get("email_verified") is not True:
        text = f"The service that signs you in has not verified your address {email}."
        raise Refused("email_unverified", text, "Verify it there, then sign in again.")
    if settings.domains and found[1].lower() not in settings.domains:
        raise Refused("email_domain", f"People with an address like {email} don't sign in here.", "Ask an admin.")
    return email


def _role(claims: Mapping[str, Any], settings: OidcSettings) -> Role | None:
    """What a claim makes of people, the default else; Refused where the claim decides and neither says anything."""
    if not settings.roles_claim:
        return settings.default_role
    said = claims.get(settings.roles_claim)
    values = said if isinstance(said, list) else [said]
    found = [settings.roles[value] for value in values if isinstance(value, str) and value in settings.roles]
    role = max(found, key=RANK.__getitem__, default=settings.default_role)
    if role is None:
        text = "The service that signs you in gives you no role here."
        raise Refused("role_missing", text, "Its admin can; `[server.oidc]` has which claim counts.")
    return role


def _plain(said: object) -> str:
    """A text of the provider's as it may be stored."""
    return "".join(letter for letter in str(said or "") if letter.isprintable())[:200]


def _cookie_name(request: Request) -> str:
    return auth.cookie_name(request) + "-oidc"


def _issuer(request: Request) -> "Issuer":
    issuer = parts(request).operated.issuer
    assert issuer is not None, "the routes are here only where it is set"
    return issuer


def _settings(request: Request) -> OidcSettings:
    settings = parts(request).settings.oidc
    assert settings is not None, "the routes are here only where it is set"
    return settings


routes = [Route(START, start, methods=["GET"]), Route(BACK, back, methods=["GET"])]
