"""What an OpenID Connect provider proves: tokens of others, forged ones, and a provider that is not well."""

import base64
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import RSAKey

from kit.outbound import Outbound
from tests.fakes.oidc import CLIENT, ELLIPTIC, RSA, Claims, Provider, provider, signed
from tests.web.oidc_plane import plane, trust
from web import oidc
from web.issuer import Issuer


@pytest.mark.parametrize(
    "over",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"iss": "https://evil.example"},
        {"aud": "another-client"},
        {"aud": "another-client", "azp": CLIENT},
        {"aud": [CLIENT, "another-client"]},
        {"aud": [CLIENT, "another-client"], "azp": "another-client"},
        {"azp": "another-client"},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": 4_000_000_000},
        {"sub": None},
        {"at_hash": "AAAA"},
    ],
    ids=json.dumps,
)
async def test_a_token_that_is_not_for_this_sign_in_proves_nothing(tmp_path: Path, over: Claims) -> None:
    async with plane(tmp_path, default_role="viewer") as here:
        here.provider.over = over
        answer = await here.refused()
    assert (answer.status_code, "could not be verified" in answer.text) == (401, True)


@pytest.mark.parametrize(
    ("over", "words"),
    [
        ({"email_verified": False}, "has not verified your address"),
        ({"email_verified": "true"}, "has not verified your address"),
        ({"email_verified": None}, "has not verified your address"),
        ({"email": None}, "names no e-mail address"),
        ({"email": "ann@example.com@evil.example"}, "names no e-mail address"),
        ({"email": "\u212aate@example.com"}, "names no e-mail address"),
    ],
    ids=json.dumps,
)
async def test_an_address_that_is_not_proven_is_nobodys(tmp_path: Path, over: Claims, words: str) -> None:
    async with plane(tmp_path, default_role="viewer") as here:
        here.provider.over = over
        answer = await here.refused()
    assert (answer.status_code, words in answer.text) == (403, True)


def unsigned(self: Provider, claims: Claims) -> str:
    parts = ({"alg": "none", "kid": self.key.kid}, claims)
    head, body = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    return f"{head}.{body}."


def by_public_key(self: Provider, claims: Claims) -> str:
    """HS256, with what everybody can read as its secret."""
    parts = ({"alg": "HS256", "kid": self.key.kid}, claims)
    text = ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts)
    digest = hmac.digest(RSA.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def by_another_key(self: Provider, claims: Claims) -> str:
    return signed(RSAKey.generate_key(2048, {"kid": str(self.key.kid)}), claims)


def changed(self: Provider, claims: Claims) -> str:
    head, _, signature = signed(self.key, claims).split(".")
    body = base64.urlsafe_b64encode(json.dumps(claims | {"email": "boss@example.com"}).encode()).rstrip(b"=").decode()
    return f"{head}.{body}.{signature}"


def nothing(self: Provider, claims: Claims) -> str:
    return ""


@pytest.mark.parametrize("forged", [unsigned, by_public_key, by_another_key, changed, nothing])
async def test_a_forged_signature_proves_nothing(tmp_path: Path, forged: Any) -> None:
    async with plane(tmp_path, default_role="viewer") as here:
        here.provider.signs = forged
        answer = await here.refused()
    assert (answer.status_code, "could not be verified" in answer.text) == (401, True)


async def test_elliptic_curves_count_and_so_does_a_key_that_is_new(tmp_path: Path) -> None:
    async with plane(tmp_path, default_role="viewer") as here:
        hours = [0.0]
        outbound = Outbound(private_hosts=("127.0.0.1",))
        settings = here.world.app.state.parts.settings
        issuer = Issuer(settings.oidc, settings.url + oidc.BACK, outbound, lambda: hours[0])
        trust(here.world, issuer)
        statuses = []
        for at, key in ((0.0, RSA), (30.0, ELLIPTIC), (61.0, ELLIPTIC), (70.0, ELLIPTIC), (80.0, RSA)):
            hours[0], here.provider.key = at, key
            async with here.browser() as http:
                statuses.append((await here.signs_in(http)).status_code)
        await outbound.close()
        assert statuses == [303, 401, 303, 303, 401]
        assert here.provider.asked.count("/keys") == 2


# a provider that is not well ------------------------------------------------------------------------------------------


async def test_a_provider_that_is_down_is_one_clear_page(tmp_path: Path) -> None:
    async with plane(tmp_path, default_role="viewer") as here, here.browser() as http:
        here.provider.down = True
        first = await http.get("/signin/oidc")
        assert (first.status_code, "does not answer as it should" in first.text) == (503, True)
        assert 'name="password"' in first.text and "Traceback" not in first.text
        asked = len(here.provider.asked)
        assert (await http.get("/signin/oidc")).status_code == 503
        assert len(here.provider.asked) == asked, "it is not asked again at once"


async def test_a_provider_that_goes_down_on_the_way_signs_nobody_in(tmp_path: Path) -> None:
    async with plane(tmp_path, default_role="viewer") as here, here.browser() as http:
        back = await here.way(http)
        here.provider.down = True
        answer = await http.get(back)
    assert (answer.status_code, "does not answer as it should" in answer.text) == (503, True)


async def test_whoever_calls_itself_otherwise_is_not_the_issuer(tmp_path: Path) -> None:
    async with provider() as other, plane(tmp_path, issuer=other.url + "/") as here, here.browser() as http:
        assert (await http.get("/signin/oidc")).status_code == 503


async def test_an_issuer_leads_to_no_private_host_but_its_own(tmp_path: Path) -> None:
    async with plane(tmp_path) as here, here.browser() as http:
        here.provider.says = {"jwks_uri": here.provider.url.replace("127.0.0.1", "localhost") + "/keys"}
        assert (await http.get("/signin/oidc")).status_code == 503
        assert "/keys" not in here.provider.asked


@pytest.mark.parametrize(
    "says",
    [
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"jwks_uri": "http://["},
        {"padding": "x" * 300_000},
    ],
    ids=["none", "script", "broken", "large"],
)
async def test_a_document_that_will_not_do_signs_nobody_in(tmp_path: Path, says: Claims) -> None:
    async with plane(tmp_path) as here, here.browser() as http:
        here.provider.says = says
        assert (await http.get("/signin/oidc")).status_code == 503
        assert "/keys" not in here.provider.asked
