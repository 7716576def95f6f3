"""A small OpenID Connect provider: discovery, keys, an authorize page without a question, and tokens for codes.

`signs` is how an id token is made of its claims; tests replace it to forge one.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.serving import serving

CLIENT, SECRET = "preloop-client", "the-clients-secret"
RSA, ELLIPTIC = RSAKey.generate_key(2048), ECKey.generate_key("P-256")
Claims = dict[str, Any]


@dataclass
class Provider:
    url: str = ""
    key: Key = field(default_factory=lambda: RSA)
    person: Claims = field(default_factory=lambda: {"email": "Ann@example.com", "email_verified": True, "name": "Ann"})
    over: Claims = field(default_factory=dict)
    """Claims of the id token that are other than they should be; None leaves one out."""
    says: Claims = field(default_factory=dict)
    """What is other than it should be in the discovery document."""
    down: bool = False
    asked: list[str] = field(default_factory=list)
    """Paths, in order."""
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    signs: Callable[["Provider", Claims], str] = lambda self, claims: signed(self.key, claims)

    def discovery(self, request: Request) -> Response:
        document = {"issuer": self.url, "jwks_uri": f"{self.url}/keys", "response_types_supported": ["code"]}
        document |= {f"{name}_endpoint": f"{self.url}/{name}" for name in ("authorization", "token")}
        return JSONResponse(document | self.says)

    def keys(self, request: Request) -> Response:
        return JSONResponse(KeySet([self.key]).as_dict(private=False))

    def authorization(self, request: Request) -> Response:
        """Whoever comes is signed in at once."""
        asked = dict(request.query_params)
        assert asked["code_challenge_method"] == "S256" and "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    async def token(self, request: Request) -> Response:
        """A code counts once, for its client, its address and its verifier."""
        said = dict(parse_qsl((await request.body()).decode()))
        asked = self.codes.pop(said.get("code", ""), None)
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if request.headers.get("authorization") != basic:
            return JSONResponse({"error": "invalid_client"}, 401)
        digest = hashlib.sha256(said.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or (asked["code_challenge"], asked["redirect_uri"]) != (challenge, said["redirect_uri"]):
            return JSONResponse({"error": "invalid_grant"}, 400)
        now = int(time.time())
        claims = {"iss": self.url, "sub": "ann-1", "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        told = {name: value for name, value in (claims | self.person | self.over).items() if value is not None}
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": self.signs(self, told)})

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.url.path)
        if self.down:
            return Response("<h1>Traceback of theirs</h1>", 502)
        if request.url.path == "/token":
            return await self.token(request)
        faces = {"/.well-known/openid-configuration": self.discovery, "/keys": self.keys}
        return (faces | {"/authorization": self.authorization})[request.url.path](request)


def signed(key: Key, claims: Claims, alg: str = "") -> str:
    key.ensure_kid()
    alg = alg or ("ES256" if isinstance(key, ECKey) else "RS256")
    return jwt.encode({"alg": alg, "kid": key.kid}, claims, key, algorithms=[alg])


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    running = Provider()
    app = Starlette(routes=[Route("/{rest:path}", running.answer, methods=["GET", "POST"])])
    async with serving(app) as url:
        running.url = url
        yield running
