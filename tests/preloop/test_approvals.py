"""`preloop approvals`: what a flow wants typed by hand is typed on the command line too."""

import pytest

from control.identity.principals import Role
from tests.preloop.terminal import Desk


async def ask(desk: Desk) -> tuple[str, str]:
    """A call of 1500 that wants its amount typed; its id and its approval's."""
    house = desk.world.house
    call = await house.call(await house.gated(confirm="typed"), amount=1500)
    return call, (await house.approval(call)).id


async def status(desk: Desk, call: str) -> str:
    return str((await desk.world.house.approval(call)).status)


@pytest.mark.parametrize("words", [(), ("--typed", "1501")])
async def test_without_what_is_to_be_typed_nothing_is_approved(desk: Desk, words: tuple[str, ...]) -> None:
    call, approval = await ask(desk)
    alice = await desk.of(Role.APPROVER)
    done = await alice.run("approvals", "approve", approval, *words)
    assert (done.code, "type the amount, 1500" in done.err) == (2, True), done
    assert await status(desk, call) == "pending"


async def test_what_is_typed_is_a_yes(desk: Desk) -> None:
    call, approval = await ask(desk)
    alice = await desk.of(Role.APPROVER)
    done = await alice.run("approvals", "approve", approval, "--typed", "1,500.00", "--json")
    assert (done.code, done.json["status"]) == (0, "approved"), done
    assert await status(desk, call) == "approved"


async def test_links_that_leaked_are_taken_back(desk: Desk) -> None:
    _, approval = await ask(desk)
    link = await desk.world.link(approval)
    alice = await desk.of(Role.APPROVER)
    done = await alice.run("approvals", "revoke-links", approval)
    assert (done.code, "1 link revoked" in done.err + done.out) == (0, True), done
    async with desk.world.client() as http:
        assert (await http.get(f"/a/{link}")).status_code == 404
    again = await alice.run("approvals", "revoke-links", approval, "--json")
    assert (again.code, again.json) == (0, {"revoked": 0}), again
    assert (await alice.run("approvals", "revoke-links", "apr_nothing")).code == 2


async def test_the_list_says_that_an_enrolled_agent_has_no_flow(desk: Desk) -> None:
    house = desk.world.house
    agent = await house.enroll(await house.gated(), name="agent:clerk")
    await house.call(agent, amount=7)
    alice = await desk.of(Role.APPROVER)
    listed = await alice.run("approvals", "list")
    assert "enrolled agent clerk" in " ".join(listed.out.split()), listed
