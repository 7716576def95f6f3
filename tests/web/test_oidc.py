"""Signing in by an OpenID Connect provider, a small real one: who comes in, as what, and how it is set."""

import json
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from control.identity import people
from control.identity.principals import Role
from control.tables import events
from kit.clock import Clock
from kit.errors import Invalid
from preloop.settings import load
from tests.control.house import ACCOUNT
from tests.fakes.oidc import CLIENT, SECRET
from tests.web.oidc_plane import plane
from tests.web.world import World
from web import oidc
from web.settings import OidcSettings, WebSettings


async def test_a_known_person_comes_in_as_what_they_are(tmp_path: Path) -> None:
    async with plane(tmp_path, default_role="viewer") as here, here.browser() as http:
        await here.know("ann@example.com")
        assert "/signin/oidc?next=%2Fflows" in (await http.get("/signin?next=/flows")).text.replace(
            "/flows", "%2Fflows"
        )
        done = await here.signs_in(http)
        assert (done.status_code, done.headers["location"]) == (303, "/flows")
        assert (await http.get("/flows")).status_code == 200
        assert await here.people() == {"ann@example.com": "operator"}
        cookies = done.headers.get_list("set-cookie")
        [mine] = [cookie for cookie in cookies if cookie.startswith("preloop=plc_")]
        assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(mine.split("; "))
        assert "preloop-oidc" not in http.cookies
        told = await here.world.house.db.read(sa.select(events.c.body).where(events.c.type == "user.signed_in"))
        assert [json.loads(row.body)["data"]["subject"] for row in told] == ["ann-1"]


async def test_what_is_taken_along_is_out_of_reach_and_fits_the_request(tmp_path: Path) -> None:
    async with plane(tmp_path) as here, here.browser() as http:
        off = await http.get("/signin/oidc")
        cookie, asked = off.headers["set-cookie"], parse_qs(urlsplit(off.headers["location"]).query)
        assert cookie.startswith("preloop-oidc=")
        assert {"HttpOnly", "SameSite=lax", "Max-Age=600"} <= set(cookie.split("; "))
        assert asked["code_challenge_method"] == ["S256"] and asked["state"] != asked["nonce"]
        assert asked["redirect_uri"] == ["http://127.0.0.1:8080/signin/oidc/callback"]
        assert asked["state"][0] not in cookie


async def test_over_https_what_is_taken_along_is_bound_to_the_host(tmp_path: Path) -> None:
    async with plane(tmp_path, public_url="https://preloop.example.com") as here, here.browser() as http:
        off = await http.get("/signin/oidc")
    assert off.headers["set-cookie"].startswith("__Host-preloop-oidc=") and "Secure" in off.headers["set-cookie"]
    redirect = parse_qs(urlsplit(off.headers["location"]).query)["redirect_uri"]
    assert redirect == ["https://preloop.example.com/signin/oidc/callback"]


async def test_without_a_provider_there_is_no_button_and_no_way(world: World) -> None:
    async with world.client() as http:
        assert "/signin/oidc" not in (await http.get("/signin")).text
        assert (await http.get("/signin/oidc")).status_code == 404


async def test_unknown_people_stay_out_without_a_default_role(tmp_path: Path) -> None:
    async with plane(tmp_path) as here:
        answer = await here.refused()
    assert answer.status_code == 403
    assert "Nobody here has the address Ann@example.com." in answer.text


async def test_unknown_people_get_the_default_role_and_removed_ones_get_it_anew(tmp_path: Path) -> None:
    async with plane(tmp_path, default_role="viewer") as here:
        await here.know("boss@example.com", Role.ADMIN)
        removed = await here.know("ann@example.com", Role.ADMIN)
        await here.world.house.db.write(lambda tx: people.remove(tx, ACCOUNT, removed, by="boss"))
        async with here.browser() as http:
            assert (await here.signs_in(http)).status_code == 303
            assert (await http.get("/settings/people")).status_code == 403
        assert (await here.people())["Ann@example.com"] == "viewer"


@pytest.mark.parametrize(
    ("said", "role"),
    [("ops", "operator"), (["other", "ops", "bosses"], "admin"), (["ops", 7, None], "operator"), ("other", None)],
)
async def test_a_claim_decides_the_role_at_each_sign_in(tmp_path: Path, said: object, role: str | None) -> None:
    async with plane(tmp_path, roles_claim="groups", roles={"ops": "operator", "bosses": "admin"}) as here:
        here.provider.over = {"groups": said}
        await here.know("boss@example.com", Role.ADMIN)
        await here.know("ann@example.com", Role.ADMIN)
        if role is None:
            assert "gives you no role here" in (await here.refused()).text
            return
        async with here.browser() as http:
            assert (await here.signs_in(http)).status_code == 303
        assert (await here.people())["ann@example.com"] == role


async def test_the_last_admin_is_not_made_less_by_a_claim(tmp_path: Path) -> None:
    async with plane(tmp_path, roles_claim="groups", roles={"ops": "operator"}) as here:
        here.provider.over = {"groups": "ops"}
        await here.know("ann@example.com", Role.ADMIN)
        assert "This is the last admin" in (await here.refused()).text


@pytest.mark.parametrize(("domain", "status"), [("example.com", 303), ("example.org", 403), ("ample.com", 403)])
async def test_only_listed_domains_come_in(tmp_path: Path, domain: str, status: int) -> None:
    async with plane(tmp_path, default_role="viewer", domains=[domain]) as here, here.browser() as http:
        assert (await here.signs_in(http)).status_code == status


async def test_two_people_of_one_address_are_nobody(tmp_path: Path) -> None:
    async with plane(tmp_path, default_role="viewer") as here:
        await here.know("ann@example.com")
        await here.know("ANN@example.com", Role.ADMIN)
        assert (await here.refused()).status_code == 409


@pytest.mark.parametrize(
    "next_", ["//evil.example", "https://evil.example", "/\\evil.example", "/" + "x" * 1001, "/" + "é" * 900]
)
async def test_it_leads_to_no_other_site(tmp_path: Path, next_: str) -> None:
    async with plane(tmp_path, default_role="viewer") as here, here.browser() as http:
        assert (await here.signs_in(http, next_)).headers["location"] == "/"


# the way back ---------------------------------------------------------------------------------------------------------


async def test_a_wrong_state_and_another_browsers_count_for_nothing(tmp_path: Path) -> None:
    async with plane(tmp_path, default_role="viewer") as here, here.browser() as http, here.browser() as other:
        theirs, mine = await here.way(other), await here.way(http)
        for brought in (theirs, mine.partition("&state=")[0] + "&state=guessed", mine.partition("&state=")[0]):
            async with here.browser() as asks:
                asks.cookies = httpx.Cookies(http.cookies)
                answer = await asks.get(brought)
                assert (answer.status_code, "did not begin in this browser" in answer.text) == (401, True)
        async with here.browser() as nobody:
            assert (await nobody.get(mine)).status_code == 401
        assert "/token" not in here.provider.asked
        assert await here.people() == {}


class Later(Clock):
    def now(self) -> datetime:
        return super().now() + timedelta(minutes=11)


async def test_a_way_back_counts_once_and_for_ten_minutes(tmp_path: Path) -> None:
    async with plane(tmp_path, default_role="viewer") as here, here.browser() as http:
        mine = await here.way(http)
        kept = httpx.Cookies(http.cookies)
        given = here.world.app.state.parts

        here.world.app.state.parts = replace(given, clock=Later())
        async with here.browser() as late:
            late.cookies = httpx.Cookies(kept)
            assert (await late.get(mine)).status_code == 401
        here.world.app.state.parts = given
        assert (await http.get(mine)).status_code == 303
        assert (await http.get(mine)).status_code == 401
        async with here.browser() as again:
            again.cookies = kept
            replayed = await again.get(mine)
            assert (replayed.status_code, "could not be verified" in replayed.text) == (401, True)


async def test_a_no_over_there_is_a_no_here(tmp_path: Path) -> None:
    async with plane(tmp_path, default_role="viewer") as here, here.browser() as http:
        state = parse_qs(urlsplit(await here.way(http)).query)["state"][0]
        answer = await http.get("/signin/oidc/callback", params={"error": "access_denied", "state": state})
    assert (answer.status_code, "access_denied" in answer.text) == (403, True)


# settings -------------------------------------------------------------------------------------------------------------

GOOD = {"issuer": "https://accounts.example.com", "client_id": CLIENT, "client_secret": SECRET}


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://accounts.example.com"},
        {"issuer": "https://u:p@accounts.example.com"},
        {"client_secret": ""},
        {"default_role": "king"},
        {"roles_claim": "groups"},
        {"roles": {"ops": "operator"}},
        {"domains": ["@example.com"]},
        {"secret": "x"},
    ],
    ids=json.dumps,
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    assert OidcSettings.model_validate(GOOD).default_role is None
    with pytest.raises(ValidationError):
        OidcSettings.model_validate(GOOD | wrong)


def test_the_secret_may_stand_in_a_file_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "preloop.toml").write_text(
        '[server.oidc]\nissuer = "https://accounts.example.com"\nclient_id = "x"\ndefault_role = "viewer"\n'
    )
    monkeypatch.setenv("PRELOOP_SERVER__OIDC__CLIENT_SECRET_FILE", str(tmp_path / "secret"))
    settings = load(config=tmp_path / "preloop.toml")
    assert settings.server.oidc and settings.server.oidc.client_secret.get_secret_value() == SECRET
    assert settings.server.oidc.default_role is Role.VIEWER


async def test_without_the_extra_the_start_says_how_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "authlib.oauth2", None)
    monkeypatch.delitem(sys.modules, "web.issuer")
    async with oidc.opened(WebSettings()) as nobody:
        assert nobody is None
    with pytest.raises(Invalid, match="Authlib is not installed") as told:
        async with oidc.opened(WebSettings(oidc=OidcSettings.model_validate(GOOD))):
            pass
    assert "make extras" in told.value.hint
