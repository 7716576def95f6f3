"""An OpenID Connect provider: where it sends people to sign in, and what its id token proves of them.

Authlib and joserfc do the protocol and the signatures; they come with the extra `oidc`, so this file is imported only
where `[server.oidc]` is set. Each request goes by `kit/outbound`: the issuer's own host may be private, since an
operator wrote it, but no other host that it names.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx
from authlib.oauth2 import ClientAuth
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet, KeySetSerialization

from kit import canonical
from kit.errors import Fault, Invalid, Unauthorized, Unavailable
from kit.observe import log
from kit.outbound import LIMIT_S, Outbound
from web.settings import OidcSettings

ALGORITHMS = ("RS256", "ES256")
"""Of signatures that count; none that a public key could be the secret of."""
SCOPE = "openid email profile"
MAX_ANSWER = 256 * 1024
KEPT_S = 3600.0
"""How long what the provider says of itself is believed;"""
ANEW_S = 60.0
"""how often it is asked for a key that it did not name,"""
AGAIN_S = 5.0
"""and how soon after it did not answer."""
LEEWAY_S = 60
"""Between its clock and ours."""
_BROKEN = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What the libraries raise for what a provider or an attacker wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the provider says of itself."""

    authorize: str
    token: str
    method: str
    keys: KeySet
    at: float


class Issuer:
    """One provider and what is remembered of it. `redirect_uri` is where it sends browsers back to."""

    def __init__(
        self,
        settings: OidcSettings,
        redirect_uri: str,
        outbound: Outbound,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._redirect_uri = redirect_uri
        self._outbound = outbound
        self._monotonic = monotonic
        self._asking = anyio.Lock()
        self._found: _Known | None = None
        self._failed_at = float("-inf")

    async def address(self, state: str, nonce: str, verifier: str) -> str:
        """Where a browser signs in; `verifier` is PKCE's (RFC 7636). Unavailable when the provider does not answer."""
        known = await self._known(KEPT_S)
        return str(
            prepare_grant_uri(
                known.authorize,
                self._settings.client_id,
                "code",
                redirect_uri=self._redirect_uri,
                scope=SCOPE,
                state=state,
                nonce=nonce,
                code_challenge=create_s256_code_challenge(verifier),
                code_challenge_method="S256",
            )
        )

    async def claims(self, code: str, nonce: str, verifier: str, now: int) -> Mapping[str, Any]:
        """What the provider proves of whoever brought this code; `now` in seconds since 1970. Unauthorized when it
        proves nothing, Unavailable when it does not answer."""
        known = await self._known(KEPT_S)
        answer = await self._exchange(known, code, verifier)
        token, access = answer.get("id_token"), answer.get("access_token")
        try:
            if not isinstance(token, str):
                raise ValueError("there is no id token")
            signed = await self._verified(token, known)
            self._check(signed, nonce, access, now)
        except _BROKEN as error:
            raise _unproven(f"id token: {type(error).__name__} {error}") from error
        return signed.claims

    async def _exchange(self, known: _Known, code: str, verifier: str) -> Mapping[str, Any]:
        body = prepare_token_request(
            "authorization_code", redirect_uri=self._redirect_uri, code=code, code_verifier=verifier
        )
        headers = {"content-type": "application/x-www-form-urlencoded"}
        client = ClientAuth(self._settings.client_id, self._settings.client_secret.get_secret_value(), known.method)
        url, headers, body = client.prepare("POST", known.token, headers, body)
        status, answer = await self._ask("POST", url, headers, body.encode())
        if status >= 500:
            raise _silent(f"token endpoint: status {status}")
        if status != 200:
            raise _unproven(f"token endpoint: status {status} {str(answer.get('error', ''))[:100]!r}")
        return answer

    async def _verified(self, token: str, known: _Known) -> jwt.Token:
        """Signed by a key of the provider's; its keys are read anew for one that it did not name."""
        try:
            return jwt.decode(token, known.keys, algorithms=ALGORITHMS)
        except InvalidKeyIdError:
            return jwt.decode(token, (await self._known(ANEW_S)).keys, algorithms=ALGORITHMS)

    def _check(self, signed: jwt.Token, nonce: str, access: object, now: int) -> None:
        options = {"iss": {"value": self._settings.issuer}, "aud": {"value": self._settings.client_id}}
        wanted = {"nonce": nonce, "client_id": self._settings.client_id, "access_token": access}
        CodeIDToken(signed.claims, signed.header, options, wanted).validate(now=now, leeway=LEEWAY_S)

    async def _known(self, newer_than_s: float) -> _Known:
        async with self._asking:
            now = self._monotonic()
            if self._found is not None and now - self._found.at < newer_than_s:
                return self._found
            if now - self._failed_at < AGAIN_S:
                raise _silent("it did not answer a moment ago")
            try:
                self._found = await self._read(now)
            except Fault:
                self._failed_at = self._monotonic()
                raise
            return self._found

    async def _read(self, now: float) -> _Known:
        settings = self._settings
        said = await self._get(settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if said.get("issuer") != settings.issuer:
            raise _silent(f"discovery: it calls itself {str(said.get('issuer'))[:200]!r}, not {settings.issuer!r}")
        authorize, token, jwks = (self._endpoint(said, name) for name in ("authorization", "token", "jwks"))
        methods = said.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        post = "client_secret_basic" not in methods and "client_secret_post" in methods
        method = "client_secret_post" if post else "client_secret_basic"
        try:
            keys = KeySet.import_key_set(cast(KeySetSerialization, await self._get(jwks)))
        except _BROKEN as error:
            raise _silent(f"keys: {type(error).__name__} {error}") from error
        return _Known(authorize=authorize, token=token, method=method, keys=keys, at=now)

    def _endpoint(self, said: Mapping[str, Any], name: str) -> str:
        """An address of the provider's: https, as the issuer is."""
        url = said.get("jwks_uri" if name == "jwks" else f"{name}_endpoint")
        allowed = {"https", urlsplit(self._settings.issuer).scheme}
        try:
            if isinstance(url, str) and urlsplit(url).scheme in allowed and urlsplit(url).hostname:
                return url
        except ValueError:
            pass
        raise _silent(f"discovery: {name} is no https address")

    async def _get(self, url: str) -> Mapping[str, Any]:
        status, answer = await self._ask("GET", url, {}, b"")
        if status != 200:
            raise _silent(f"{url}: status {status}")
        return answer

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object of an answer; Unavailable when there is none."""
        plain = {**headers, "accept": "application/json", "accept-encoding": "identity"}
        try:
            with anyio.fail_after(LIMIT_S):
                answer = await self._outbound.open(method, url, headers=plain, content=content, silent_s=LIMIT_S)
                body = await _body(answer)
            parsed = canonical.parse(body)
            if not isinstance(parsed, dict):
                raise Invalid("json_invalid", "That is no JSON object.")
        except (Fault, httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise _silent(f"{urlsplit(url).hostname}: {str(error) or 'no answer in time'}") from error
        return answer.status_code, parsed


async def _body(answer: httpx.Response) -> bytes:
    body = b""
    try:
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > MAX_ANSWER:
                raise Invalid("answer_too_large", f"The answer is larger than {MAX_ANSWER} bytes.")
    finally:
        await answer.aclose()
    return body


def _silent(why: str) -> Unavailable:
    """For the person one sentence; what went wrong is for the log."""
    log.warning("the sign-in provider does not answer as it should", why=why)
    text = "The service that signs you in does not answer as it should."
    return Unavailable("signin_unavailable", text, "Try again in a minute; an admin finds the reason in the log.")


def _unproven(why: str) -> Unauthorized:
    log.warning("a sign-in could not be verified", why=why)
    text = "What the service that signs you in says of you could not be verified."
    return Unauthorized("signin_unproven", text, "Sign in again; an admin finds the reason in the log.")
