"""What the approval page offers beyond yes and no, and how it answers to whoever presses it."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from control.approvals.notices import Failure
from control.approvals.standing import Scope
from control.executions.states import Cause
from control.identity.charter import Gate, ToolGrant
from control.identity.principals import Principal, Role
from control.tables import approvals, grants, outbox, votes
from kit import canonical
from tests.web.test_links import hidden
from tests.web.world import World

PAYMENT = {"amount": 1500, "recipient": "contractor@example.com", "api_key": "sk-very-secret"}


async def ask(world: World, principal: Principal | None = None, **gate: Any) -> tuple[Principal, str, str]:
    """A waiting call: who asks, the call's id, its approval's."""
    who = principal or await world.house.gated(**gate)
    call = await world.house.call(who, **PAYMENT)  # type: ignore[arg-type]
    return who, call, (await world.house.approval(call)).id


async def open_page(http: httpx.AsyncClient, world: World, approval: str, approver: str = "alice") -> httpx.Response:
    await http.get(f"/a/{await world.link(approval, approver)}")
    return await http.get(f"/a/{approval}")


def fields(page: httpx.Response) -> dict[str, str]:
    """The Approve form as it is sent when nobody wrote anything."""
    return hidden(page.text) | {"verdict": "approved", "reason": ""}


async def test_after_its_time_a_form_decides_nothing(world: World) -> None:
    _, call, approval = await ask(world)
    async with world.client() as http:
        form = fields(await open_page(http, world, approval))
        await world.house.age(call, timedelta(minutes=11))
        late = await http.post(f"/a/{approval}", data=form)
    assert (late.status_code, "the time to decide is over" in late.text) == (409, True)
    assert (await world.house.approval(call)).status == "pending"


# changed arguments ----------------------------------------------------------------------------------------------------


def edited(page: httpx.Response) -> dict[str, Any]:
    hit = re.search(r'name="arguments"[^>]*>(.*?)</textarea>', page.text, re.DOTALL)
    assert hit
    parsed: dict[str, Any] = canonical.parse(unescape(hit[1]))
    return parsed


async def test_changed_arguments_are_approved_shown_as_a_diff_and_keep_the_secret(world: World) -> None:
    principal, call, approval = await ask(world)
    async with world.client() as http:
        page = await open_page(http, world, approval)
        assert "sk-very-secret" not in page.text
        wished = canonical.dumps(edited(page) | {"amount": 900})
        await http.post(f"/a/{approval}", data=fields(page) | {"arguments": wished})
        await world.house.claim(principal, call)
        await world.house.settle(call, transaction_id="tx_1")
        after = await http.get(f"/a/{approval}")
    row = await world.house.call_row(call)
    assert canonical.parse(row.approved_args) == PAYMENT | {"amount": 900}
    diff = re.search(r'aria-labelledby="changes">(.*?)</section>', after.text, re.DOTALL)
    assert diff
    assert re.findall(r"<strong>(\w+)</strong>", diff[1]) == ["1500", "900"]
    assert "sk-very-secret" not in after.text
    assert f"event {row.receipt_seq} of" in after.text


@pytest.mark.parametrize("text", ["", "{", "[]", '{"amount": 1, "amount": 2}', '{"amount": 9007199254740993}'])
async def test_what_is_no_object_is_sent_back_and_nothing_is_decided(world: World, text: str) -> None:
    _, call, approval = await ask(world)
    async with world.client() as http:
        page = await open_page(http, world, approval)
        answer = await http.post(f"/a/{approval}", data=fields(page) | {"arguments": text})
    assert answer.status_code == 422
    assert (await world.house.approval(call)).status == "pending"


async def test_rest_takes_changed_arguments_too(world: World) -> None:
    _, call, approval = await ask(world)
    digest = (await world.house.call_row(call)).digest
    body = {"verdict": "approved", "digest": digest, "arguments": {"amount": 1}}
    async with world.program(await world.token(Role.APPROVER, "api")) as http:
        answer = (await http.post(f"/api/v1/approvals/{approval}/decide", json=body)).json()
    assert (answer["status"], answer["approved_arguments"], answer["arguments"]["amount"]) == (
        "approved",
        {"amount": 1},
        1500,
    )


# standing yeses -------------------------------------------------------------------------------------------------------


async def test_a_yes_from_the_page_stands_for_later_calls(world: World) -> None:
    principal, call, approval = await ask(world)
    wish = {"standing": "tool", "uses": "2", "minutes": "30", "condition": "args.amount < 2000"}
    async with world.client() as http:
        await http.post(f"/a/{approval}", data=fields(await open_page(http, world, approval)) | wish)
        after = await http.get(f"/a/{approval}")
    assert "2 more calls where" in after.text
    assert (await world.house.call_row(await world.house.call(principal, amount=7))).status == "ready"
    [grant] = await world.house.db.read(sa.select(grants))
    assert (grant.uses_left, grant.created_by, grant.approval_id) == (1, "alice", approval)
    assert (await world.house.approval(call)).status == "approved"


@pytest.mark.parametrize(
    "wish",
    [{"uses": "many"}, {"uses": "0"}, {"minutes": "9999"}, {"condition": "args.amount <"}],
    ids=["no-number", "none", "too-long", "no-rule"],
)
async def test_a_standing_yes_without_bounds_decides_nothing(world: World, wish: dict[str, str]) -> None:
    _, call, approval = await ask(world)
    form = {"standing": "tool", "uses": "2", "minutes": "30", "condition": ""} | wish
    async with world.client() as http:
        answer = await http.post(f"/a/{approval}", data=fields(await open_page(http, world, approval)) | form)
    assert answer.status_code == 422
    assert (await world.house.approval(call)).status == "pending"
    assert not await world.house.db.read(sa.select(votes))


# several people -------------------------------------------------------------------------------------------------------


async def test_a_page_for_two_shows_who_agreed_and_offers_nothing_beyond(world: World) -> None:
    _, call, approval = await ask(world, quorum=2)
    async with world.client() as alice, world.client() as bob:
        page = await open_page(alice, world, approval)
        assert 'name="arguments"' not in page.text
        assert 'name="standing"' not in page.text
        await alice.post(f"/a/{approval}", data=fields(page))
        assert "You have voted; others must agree too." in (await alice.get(f"/a/{approval}")).text
        his = await open_page(bob, world, approval, "bob")
        assert "Alice Moreau (agreed), Bob Okafor · 1 of 2 agreed" in his.text
        await bob.post(f"/a/{approval}", data=fields(his))
    assert (await world.house.approval(call)).status == "approved"


async def test_whoever_started_the_run_reads_that_somebody_else_must_agree(world: World) -> None:
    _, _, approval = await ask(world, by="alice@example.com", four_eyes=True)
    async with world.client() as http:
        page = await open_page(http, world, approval)
        assert "You started this run, so somebody else must agree too." in page.text
        await http.post(f"/a/{approval}", data=fields(page))
        assert "somebody else must agree too" in (await http.get(f"/a/{approval}")).text


# afterwards -----------------------------------------------------------------------------------------------------------


async def test_every_end_of_a_request_is_told_plainly(world: World) -> None:
    async def told(approval: str) -> str:
        async with world.client() as http:
            return (await open_page(http, world, approval)).text

    house = world.house
    expired, withdrawn, lapsed = [await ask(world) for _ in range(3)]
    await house.end(withdrawn[0].execution_id, Cause.CANCELLED)
    await house.decide(lapsed[1])
    assert "Approved, awaiting the caller." in await told(lapsed[2])
    for _, call, _ in (expired, lapsed):
        await house.age(call, timedelta(minutes=11))
    await house.db.write(house.desk.expire)
    unheard = await ask(world)
    for row in await house.db.read(sa.select(outbox).where(outbox.c.payload.contains(unheard[2]))):
        failure = Failure(reason="no", final=True)
        await house.db.write(lambda tx, row=row, failure=failure: house.desk.noted(tx, row, failure))  # type: ignore[misc]
    void = await ask(world)
    gone = {"status": "void", "reason": "the tool's definition changed"}
    await house.db.write(lambda tx: tx.execute(sa.update(approvals).where(approvals.c.id == void[2]).values(gone)))
    for (_, _, approval), words in (
        (expired, "Timeout"),
        (withdrawn, "The run ended before anybody decided"),
        (lapsed, "Nobody took it up in time"),
        (unheard, "Nobody could be reached"),
        (void, "the tool&#39;s definition changed"),
    ):
        page = await told(approval)
        assert words in page
        assert 'name="verdict"' not in page


async def test_a_used_up_standing_yes_says_so(world: World) -> None:
    principal, call, approval = await ask(world)
    await world.house.decide(call, grant=Scope(uses=1))
    await world.house.claim(principal, call)
    await world.house.settle(call)
    await world.house.deliver(call)
    await world.house.call(principal, **PAYMENT)  # type: ignore[arg-type]
    async with world.client() as http:
        page = (await open_page(http, world, approval)).text
    assert "used up" in page


async def test_the_next_group_sees_the_page_once_it_is_asked(world: World) -> None:
    tools = (ToolGrant(server="payments", tool="pay", approval=Gate(group="alone", escalate="finance")),)
    principal = await world.house.running(tools=tools)
    _, call, approval = await ask(world, principal)
    async with world.client() as http:
        assert (await http.get(f"/a/{await world.link(approval)}")).status_code == 404
        await world.house.age(call, timedelta(minutes=8))
        await world.house.db.write(world.house.desk.climb)
        page = await open_page(http, world, approval)
        assert "Carol, Alice Moreau, Bob Okafor" in page.text
        await http.post(f"/a/{approval}", data=fields(page))
    assert (await world.house.approval(call)).decided_by == "alice"


async def test_a_standing_yes_is_taken_back_on_the_page(world: World) -> None:
    principal, call, approval = await ask(world)
    await world.house.decide(call, grant=Scope(exact=False, uses=5))
    async with world.client(await world.token(Role.APPROVER)) as http:
        page = (await http.get(f"/approvals/{approval}")).text
        action = re.search(r'action="(/approvals/[^"]+/grants/[^"]+/revoke)"', page)
        assert action
        assert (await http.post(action[1])).status_code == 303
        assert "taken back" in (await http.get(f"/approvals/{approval}")).text
    assert (await world.house.call_row(await world.house.call(principal, amount=1))).status == "waiting"
