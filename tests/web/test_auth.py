"""Signing in and out, and who is let in where."""

from datetime import timedelta
from pathlib import Path

import pytest

from control.identity import accounts, sessions
from control.identity.charter import Charter
from control.identity.principals import AUDIENCE, Role
from kit.db import Tx
from kit.errors import Unauthorized
from kit.tokens import Signer
from tests.control.house import ACCOUNT
from tests.web.world import ORIGIN, World, open_world
from web.settings import WebSettings

PASSWORD = "correct horse battery staple"


async def test_opening_a_sign_in_link_spends_nothing(world: World) -> None:
    token = await world.token(kind="sign_in")
    async with world.client() as http:
        for _ in range(3):
            page = await http.get("/signin", params={"token": token})
            assert page.status_code == 200
            assert "set-cookie" not in page.headers
        pressed = await http.post("/signin", data={"token": token, "next": "/approvals"})
        assert (pressed.status_code, pressed.headers["location"]) == (303, "/approvals")
        assert (await http.get("/approvals")).status_code == 200


async def test_a_sign_in_link_works_once(world: World) -> None:
    token = await world.token(kind="sign_in")
    async with world.client() as http:
        assert (await http.post("/signin", data={"token": token})).status_code == 303
    async with world.client() as other:
        again = await other.post("/signin", data={"token": token})
    assert again.status_code == 401
    assert "used before or has expired" in again.text


async def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(world: World) -> None:
    token = await world.token(kind="sign_in")
    async with world.client() as http:
        cookie = (await http.post("/signin", data={"token": token})).headers["set-cookie"]
    assert cookie.startswith("preloop=plc_")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie


async def test_over_https_the_cookie_is_bound_to_the_host(tmp_path: Path) -> None:
    settings = WebSettings(public_url="https://preloop.example.com")
    async with open_world(tmp_path, settings) as world, world.client() as http:
        token = await world.token(kind="sign_in")
        answer = await http.post("/signin", data={"token": token})
        described = (await http.get("/api/openapi.json")).json()["components"]["securitySchemes"]["cookie"]
    assert answer.headers["set-cookie"].startswith("__Host-preloop=")
    assert described["name"] == "__Host-preloop"
    assert "Secure" in answer.headers["set-cookie"]
    assert "strict-transport-security" in answer.headers


async def test_a_password_signs_in_and_a_wrong_one_does_not(world: World) -> None:
    await world.token(Role.OPERATOR, password=PASSWORD)
    async with world.client() as http:
        for email, password in (("operator@example.com", "wrong"), ("nobody@example.com", PASSWORD)):
            refused = await http.post("/signin", data={"email": email, "password": password})
            assert refused.status_code == 401
            assert "do not match" in refused.text
            assert password not in refused.text
        signed = await http.post("/signin", data={"email": "operator@example.com", "password": PASSWORD})
        assert signed.status_code == 303


async def test_signing_out_ends_the_cookie_itself(world: World) -> None:
    cookie = await world.token()
    async with world.client(cookie) as http:
        assert (await http.get("/")).status_code == 200
        assert (await http.post("/signout")).status_code == 303
    async with world.client(cookie) as http:
        assert (await http.get("/")).headers["location"].startswith("/signin")


async def test_who_is_not_signed_in_comes_back_to_where_they_wanted(world: World) -> None:
    async with world.client() as http:
        sent = await http.get("/executions?state=FAILED")
        assert sent.headers["location"] == "/signin?next=%2Fexecutions%3Fstate%3DFAILED"


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\tx"])
async def test_signing_in_never_leads_to_another_site(world: World, next_: str) -> None:
    token = await world.token(kind="sign_in")
    async with world.client() as http:
        answer = await http.post("/signin", data={"token": token, "next": next_})
    assert answer.headers["location"] == "/"


async def test_signing_in_from_another_sites_page_is_refused(world: World) -> None:
    token = await world.token(kind="sign_in")
    async with world.client(origin="https://evil.example") as http:
        assert (await http.post("/signin", data={"token": token})).status_code == 403


async def test_agents_tokens_are_nobody_here(world: World, tmp_path: Path) -> None:
    signer = Signer.open(tmp_path / "signing.pem")
    principal = await world.house.running()
    charter = Charter(flow=None, tools=(), models=())

    def enroll(tx: Tx) -> str:
        return sessions.enroll(tx, ACCOUNT, name="x", charter=charter, until=tx.now() + timedelta(hours=1))[1]

    enrolled = await world.house.db.write(enroll)
    ends = (await world.house.row(principal.execution_id)).created_at + timedelta(hours=1)
    runtime = signer.sign(subject=principal.session_id, audience=AUDIENCE, expires_at=ends)
    for token in (enrolled, runtime, await world.token(), await world.token(kind="sign_in"), ""):
        async with world.program(token or " ") as http:
            assert (await http.get("/api/v1/executions")).status_code == 401
            assert (await http.get("/executions")).status_code == 401
            assert (await http.get("/")).status_code == 401


async def test_an_api_token_stands_for_its_person_until_it_expires(world: World) -> None:
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        assert (await http.get("/api/v1/executions")).status_code == 200
        refused = await http.post("/api/v1/flows/process-payment/executions", json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "role_too_low")
    async with world.program(await world.token(Role.ADMIN, "api", lasts=timedelta(seconds=-1))) as http:
        assert (await http.get("/api/v1/executions")).status_code == 401


async def test_viewers_and_approvers_change_nothing_on_pages(world: World) -> None:
    run = await world.house.start()
    for role in (Role.VIEWER, Role.APPROVER):
        async with world.client(await world.token(role)) as http:
            assert (await http.post(f"/executions/{run}/cancel")).status_code == 403
            assert (await http.post("/flows/process-payment/executions", data={"payload": "{}"})).status_code == 403
            assert "Cancel Execution" not in (await http.get(f"/executions/{run}")).text


async def test_a_form_of_somebody_signed_out_meanwhile_leads_to_signing_in_and_back(world: World) -> None:
    run = await world.house.start()
    path = f"/executions/{run}?a=b"
    for referer, back in ((f"{ORIGIN}{path}", path), ("https://evil.example/x", "/"), ("", "/")):
        async with world.client(referer=referer) as http:
            late = await http.post(f"/executions/{run}/cancel")
        assert late.status_code == 401
        assert "nothing was changed" in late.text
        assert f'name="next" value="{back}"' in late.text


async def test_unknown_people_have_no_password(world: World) -> None:
    with pytest.raises(Unauthorized, match="do not match"):
        await accounts.by_password(world.house.db, ACCOUNT, "nobody@example.com", "nobody has this password")


async def test_a_link_that_is_too_old_says_where_another_one_comes_from(world: World) -> None:
    token = await world.token(kind="sign_in", lasts=timedelta(seconds=-1))
    async with world.client() as http:
        late = await http.post("/signin", data={"token": token})
    assert late.status_code == 401
    assert "set-cookie" not in late.headers
    assert "used before or has expired" in late.text
    assert "preloop users link EMAIL" in late.text
