"""Links that are taken back: by whoever may decide, on the page, through REST, and by leaving the directory."""

import re

import httpx
import pytest

from control import events
from control.approvals import notices
from control.approvals.directory import Directory
from control.identity.principals import Role
from control.tables import links, outbox
from tests.browser.scene import PAYMENT
from tests.control.house import ACCOUNT
from tests.web.world import World


class Leaked:
    """A waiting request whose two links are out, one of them opened by somebody already."""

    def __init__(self, world: World, stream: str, approval: str, given: list[str]) -> None:
        self.world, self.stream, self.approval, self.links = world, stream, approval, given

    async def answers(self, holder: httpx.AsyncClient) -> set[int]:
        """What each link, and the page of whoever has opened one, answers now."""
        async with self.world.client() as http:
            found = {(await http.get(f"/a/{link}")).status_code for link in self.links}
        return found | {(await holder.get(f"/a/{self.approval}")).status_code}

    async def events(self) -> list[dict[str, object]]:
        told = await events.read(self.world.house.db, ACCOUNT, self.stream)
        return [dict(event.data) for event in told if event.type == "approval.links_revoked"]


@pytest.fixture
async def leaked(world: World) -> Leaked:
    principal = await world.house.running()
    approval = (await world.house.approval(await world.house.call(principal, **PAYMENT))).id
    given = [await world.link(approval), await world.link(approval, "bob")]
    return Leaked(world, principal.stream, approval, given)


async def test_the_page_s_button_closes_every_link_and_the_record_says_who(leaked: Leaked) -> None:
    world = leaked.world
    async with world.client() as holder, world.client(await world.token(Role.APPROVER)) as http:
        await holder.get(f"/a/{leaked.links[0]}")
        assert await leaked.answers(holder) == {200, 303}
        page = (await http.get(f"/approvals/{leaked.approval}")).text
        assert "2 links of notices open this request" in page
        assert "Revoke links for good" in page
        action = re.search(r'action="(/approvals/[^"]+/links/revoke)"', page)
        assert action
        assert (await http.post(action[1], headers={"origin": "https://evil.example"})).status_code == 403
        assert (await http.post(action[1])).status_code == 303
        assert await leaked.answers(holder) == {404}
        assert "links/revoke" not in (await http.get(f"/approvals/{leaked.approval}")).text
    [told] = await leaked.events()
    assert (told["approval"], told["links"], "@" in str(told["by"])) == (leaked.approval, 2, True)


async def test_rest_says_how_many_and_a_second_time_none(leaked: Leaked) -> None:
    world, at = leaked.world, f"/api/v1/approvals/{leaked.approval}/links/revoke"
    async with world.client(await world.token(Role.VIEWER)) as viewer:
        assert (await viewer.post(at)).status_code == 403
        assert "links/revoke" not in (await viewer.get(f"/approvals/{leaked.approval}")).text
    async with world.client() as holder, world.client(await world.token(Role.APPROVER)) as http:
        await holder.get(f"/a/{leaked.links[0]}")
        assert await leaked.answers(holder) == {200, 303}
        assert [(await http.post(at)).json() for _ in range(2)] == [{"revoked": 2}, {"revoked": 0}]
        assert await leaked.answers(holder) == {404}
        assert (await http.post("/api/v1/approvals/apr_nothing/links/revoke")).status_code == 404
    assert len(await leaked.events()) == 1


async def test_a_later_notice_leads_to_the_page_where_one_signs_in_and_decides(leaked: Leaked) -> None:
    house = leaked.world.house
    async with leaked.world.client(await leaked.world.token(Role.APPROVER)) as alice:
        await alice.post(f"/api/v1/approvals/{leaked.approval}/links/revoke")
        [row, *_] = await house.db.read(outbox.select())
        notice = await house.db.write(lambda tx: notices.compose(tx, row, ""))
        assert notice
        assert notice.link is None
        async with leaked.world.client() as nobody:
            asks = await nobody.get(notice.page)
        assert (asks.status_code, asks.headers["location"].startswith("/signin?next=")) == (303, True)
        assert f"{notice.page}/decide" in (await alice.get(notice.page)).text


@pytest.mark.parametrize("leaves", ["directory", "group"])
async def test_who_is_not_asked_any_more_has_no_link(leaked: Leaked, leaves: str) -> None:
    desk = leaked.world.house.desk
    people = dict(desk.directory.approvers)
    async with leaked.world.client() as holder, leaked.world.client() as bob:
        await holder.get(f"/a/{leaked.links[0]}")
        if leaves == "directory":
            del people["alice"]
        desk.directory = Directory(approvers=people, groups={"finance": ("bob",)})
        assert (await holder.get(f"/a/{leaked.approval}")).status_code == 404
        assert (await bob.get(f"/a/{leaked.links[0]}")).status_code == 404
        assert (await bob.get(f"/a/{leaked.links[1]}")).status_code == 303
    assert not [row for row in await leaked.world.house.db.read(links.select()) if row.revoked_at]
