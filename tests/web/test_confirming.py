"""For what is dear a press is not enough: an amount typed by hand, a sign-in, and secrets that only a recorded look
shows."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from control import events
from control.approvals import links
from control.approvals.standing import Scope
from control.identity.charter import Gate, ToolGrant
from control.identity.principals import Role
from control.tables import approvals, outbox
from kit import canonical
from tests.control.house import ACCOUNT
from tests.web.test_decisions import PAYMENT, ask, edited, fields, open_page
from tests.web.test_looking import everything
from tests.web.world import World

SECRET = str(sorted(PAYMENT).index("api_key"))
"""The secret's number among the arguments."""


async def status(world: World, call: str) -> str:
    return str((await world.house.approval(call)).status)


# typed by hand --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", ["", "1501", "150", "pay", "NaN", "1500x", "15 00 0"])
async def test_without_the_amount_typed_nothing_is_approved(world: World, typed: str) -> None:
    _, call, approval = await ask(world, confirm="typed")
    async with world.client() as http:
        page = await open_page(http, world, approval)
        assert "type the amount: 1500" in page.text
        answer = await http.post(f"/a/{approval}", data=fields(page) | {"typed": typed})
    assert (answer.status_code, "type the amount, 1500" in answer.text) == (422, True)
    assert await status(world, call) == "pending"


@pytest.mark.parametrize("typed", ["1500", " 1,500.00 "])
async def test_the_amount_typed_is_a_yes(world: World, typed: str) -> None:
    _, call, approval = await ask(world, confirm="typed")
    async with world.client() as http:
        form = fields(await open_page(http, world, approval)) | {"typed": typed}
        assert (await http.post(f"/a/{approval}", data=form)).status_code == 303
    assert await status(world, call) == "approved"


async def test_changed_arguments_want_the_amount_that_is_sent(world: World) -> None:
    _, call, approval = await ask(world, confirm="typed")
    async with world.client() as http:
        page = await open_page(http, world, approval)
        wished = fields(page) | {"arguments": '{"amount": 900}'}
        assert (await http.post(f"/a/{approval}", data=wished | {"typed": "1500"})).status_code == 422
        assert await status(world, call) == "pending"
        assert (await http.post(f"/a/{approval}", data=wished | {"typed": "900"})).status_code == 303
    assert (await world.house.call_row(call)).approved_args == '{"amount":900}'


async def test_without_an_amount_it_is_the_tool_s_name(world: World) -> None:
    principal = await world.house.gated(confirm="typed")
    call = await world.house.call(principal, recipient="x")
    approval = (await world.house.approval(call)).id
    async with world.client() as http:
        form = fields(await open_page(http, world, approval))
        assert (await http.post(f"/a/{approval}", data=form | {"typed": "PAY"})).status_code == 422
        assert (await http.post(f"/a/{approval}", data=form | {"typed": "pay"})).status_code == 303


async def test_declining_wants_nothing_typed(world: World) -> None:
    _, call, approval = await ask(world, confirm="typed")
    async with world.client() as http:
        form = fields(await open_page(http, world, approval)) | {"verdict": "declined", "reason": "no"}
        assert (await http.post(f"/a/{approval}", data=form)).status_code == 303
    assert await status(world, call) == "declined"


async def test_signed_in_and_by_rest_it_is_typed_as_well(world: World) -> None:
    _, call, approval = await ask(world, confirm="typed")
    body = {"verdict": "approved", "digest": (await world.house.call_row(call)).digest}
    async with world.client(await world.token(Role.APPROVER)) as http:
        form = fields(await http.get(f"/approvals/{approval}"))
        assert (await http.post(f"/approvals/{approval}/decide", data=form)).status_code == 422
    async with world.program(await world.token(Role.APPROVER, "api")) as http:
        refused = await http.post(f"/api/v1/approvals/{approval}/decide", json=body)
        assert (refused.status_code, refused.json()["code"]) == (422, "confirmation_wrong")
        done = await http.post(f"/api/v1/approvals/{approval}/decide", json=body | {"typed": "1500"})
    assert done.json()["status"] == "approved"


async def test_what_is_typed_each_time_has_no_standing_yes(world: World) -> None:
    _, call, approval = await ask(world, confirm="typed")
    wish = {"standing": "tool", "uses": "2", "minutes": "30", "typed": "1500"}
    async with world.client() as http:
        page = await open_page(http, world, approval)
        assert 'name="standing"' not in page.text
        assert (await http.post(f"/a/{approval}", data=fields(page) | wish)).status_code == 403
    assert await status(world, call) == "pending"


async def test_a_standing_yes_does_not_cover_what_is_typed(world: World) -> None:
    plain, dear = Gate(group="finance"), Gate(group="finance", when="args.amount > 1000", confirm="typed")
    tools = tuple(ToolGrant(server="payments", tool="pay", approval=gate) for gate in (plain, dear))
    principal = await world.house.running(tools=tools)
    first = await world.house.call(principal, amount=10)
    await world.house.decide(first, grant=Scope(exact=False, uses=5))
    assert (await world.house.call_row(await world.house.call(principal, amount=20))).status == "ready"
    assert (await world.house.call_row(await world.house.call(principal, amount=2000))).status == "waiting"


# signed in ------------------------------------------------------------------------------------------------------------


async def test_a_link_looks_and_a_sign_in_decides(world: World) -> None:
    _, call, approval = await ask(world, sign_in=True)
    async with world.client() as http:
        page = await open_page(http, world, approval)
        assert 'name="verdict"' not in page.text
        assert f'href="/approvals/{approval}"' in page.text
    async with world.client(await world.token(Role.APPROVER)) as signed_in:
        form = fields(await signed_in.get(f"/approvals/{approval}"))
        async with world.client() as http:
            link = await world.link(approval)
            await http.get(f"/a/{link}")
            forged = form | {"nonce": links.nonce(link)}
            for verdict in ("approved", "declined"):
                refused = await http.post(f"/a/{approval}", data=forged | {"verdict": verdict, "reason": "x"})
                assert (refused.status_code, "Sign in, then decide it" in refused.text) == (403, True)
        assert await status(world, call) == "pending"
        assert (await signed_in.post(f"/approvals/{approval}/decide", data=form)).status_code == 303
    assert await status(world, call) == "approved"


# secrets --------------------------------------------------------------------------------------------------------------


async def revealed(world: World) -> list[dict[str, Any]]:
    rows = await world.house.db.read(sa.select(approvals.c.session_id, approvals.c.execution_id))
    found = [
        event
        for row in rows
        for event in await events.read(world.house.db, ACCOUNT, row.execution_id or row.session_id)
    ]
    return [event.data for event in found if event.type == "argument.revealed"]


async def test_a_secret_is_shown_once_and_the_record_says_to_whom(world: World) -> None:
    _, _, approval = await ask(world)
    async with world.client() as http:
        page = await open_page(http, world, approval)
        form = {"nonce": fields(page)["nonce"], "argument": SECRET}
        shown = await http.post(f"/a/{approval}/reveal", data=form)
        again = await http.get(f"/a/{approval}")
        back = await http.get(f"/a/{approval}/reveal")
    assert (shown.status_code, "sk-very-secret" in shown.text) == (200, True)
    assert shown.headers["cache-control"] == "no-store"
    assert "sk-very-secret" not in page.text + again.text
    assert (back.status_code, back.headers["location"]) == (303, f"/a/{approval}")
    [told] = await revealed(world)
    assert (told["path"], told["by"], told["approval"]) == ("api_key", "alice", approval)
    assert told["via"].startswith("link lnk_")
    assert "sk-very-secret" not in str(told)


async def test_looking_for_secrets_needs_the_form_and_an_open_request(world: World) -> None:
    _, call, approval = await ask(world)
    async with world.client() as http:
        form = fields(await open_page(http, world, approval))
        wishes: list[tuple[dict[str, str], dict[str, str], int]] = [
            ({"argument": SECRET, "nonce": "0" * 64}, {}, 403),
            ({"argument": SECRET}, {"origin": "https://evil.example"}, 403),
            ({"argument": "99"}, {}, 422),
            ({"argument": "api_key"}, {}, 422),
        ]
        for more, headers, expected in wishes:
            answer = await http.post(f"/a/{approval}/reveal", data=form | more, headers=headers)
            assert (answer.status_code, "sk-very-secret" in answer.text) == (expected, False)
        await world.house.decide(call)
        late = await http.post(f"/a/{approval}/reveal", data=form | {"argument": SECRET})
    async with world.client() as stranger:
        unknown = await stranger.post(f"/a/{approval}/reveal", data=form | {"argument": SECRET})
    assert (late.status_code, unknown.status_code) == (409, 404)
    assert "sk-very-secret" not in late.text + unknown.text
    assert await revealed(world) == []


async def test_who_is_signed_in_looks_by_name_and_who_was_not_asked_does_not(world: World) -> None:
    _, _, approval = await ask(world)
    form = {"argument": SECRET}
    async with world.client(await world.token(Role.APPROVER)) as http:
        assert "sk-very-secret" in (await http.post(f"/approvals/{approval}/reveal", data=form)).text
        assert "sk-very-secret" not in (await http.get(f"/approvals/{approval}/reveal", follow_redirects=True)).text
    async with world.client() as carol:
        page = await carol.get(f"/a/{(link := await world.link(approval, 'carol'))}")
        other = form | {"nonce": links.nonce(link)}
        assert (page.status_code, (await carol.post(f"/a/{approval}/reveal", data=other)).status_code) == (404, 404)
    for role in (Role.VIEWER, Role.ADMIN):
        async with world.client(await world.token(role)) as http:
            assert (await http.post(f"/approvals/{approval}/reveal", data=form)).status_code == 403
    assert [told["by"] for told in await revealed(world)] == ["alice"]


async def test_where_a_link_only_looks_it_shows_no_secret(world: World) -> None:
    _, _, approval = await ask(world, sign_in=True)
    link = await world.link(approval)
    async with world.client() as http:
        await http.get(f"/a/{link}")
        form = {"nonce": links.nonce(link), "argument": SECRET}
        answer = await http.post(f"/a/{approval}/reveal", data=form)
    assert (answer.status_code, "sk-very-secret" in answer.text) == (403, False)
    assert await revealed(world) == []


async def test_a_secret_is_known_by_its_look_and_stays_when_the_rest_is_changed(world: World) -> None:
    token = "ghp_" + "a1B2c3D4e5" * 4
    principal = await world.house.gated()
    call = await world.house.call(principal, command=f"git clone https://me:hunter2@host/x && echo {token}")
    approval = (await world.house.approval(call)).id
    async with world.client() as http:
        page = await open_page(http, world, approval)
        assert token not in page.text and "hunter2" not in page.text
        assert "git clone https://" in page.text
        kept = edited(page) | {"depth": 1}
        moved = {"command": "echo ••••••••"}
        refused = await http.post(f"/a/{approval}", data=fields(page) | {"arguments": canonical.dumps(moved)})
        assert refused.status_code == 422
        await http.post(f"/a/{approval}", data=fields(page) | {"arguments": canonical.dumps(kept)})
    row = await world.house.call_row(call)
    assert token in row.approved_args and "•" not in row.approved_args


async def test_no_notice_and_no_event_of_asking_holds_the_secret(world: World) -> None:
    await ask(world)
    kept = await everything(world)
    told = {name: rows for name, rows in kept.items() if name in ("events", "outbox", "approvals", "votes", "links")}
    assert "sk-very-secret" not in str(told)


async def test_a_notice_says_what_is_dear(world: World) -> None:
    await ask(world, confirm="typed")
    [first, *_] = await world.house.db.read(sa.select(outbox.c.payload))
    assert '"risk":"high"' in first.payload


async def test_a_page_that_is_old_learns_that_its_time_is_over_first(world: World) -> None:
    _, call, approval = await ask(world, confirm="typed", sign_in=True)
    async with world.client() as http:
        form = {"nonce": links.nonce(link := await world.link(approval)), "verdict": "approved"}
        await http.get(f"/a/{link}")
        await world.house.age(call, timedelta(minutes=11))
        late: httpx.Response = await http.post(f"/a/{approval}", data=form)
    assert (late.status_code, "The time to decide is over" in late.text) == (409, True)
