"""However a person comes, arguments that others must be asked about are not theirs to put in."""

import pytest

from control.identity.charter import Gate, ToolGrant
from control.identity.principals import Role
from kit import canonical
from tests.web.test_decisions import edited, fields, open_page
from tests.web.world import World

ENTRIES = (
    ToolGrant(
        server="payments", tool="pay", approval=Gate(group="finance", when="args.amount <= 10000", escalate="directors")
    ),
    ToolGrant(server="payments", tool="pay", approval=Gate(group="directors", when="args.amount > 10000")),
)


async def asked(world: World) -> tuple[str, str]:
    call = await world.house.call(await world.house.running(tools=ENTRIES), amount=500)
    return call, (await world.house.approval(call)).id


@pytest.mark.parametrize("way", ["rest", "link"])
async def test_a_larger_amount_is_the_directors_to_approve(world: World, way: str) -> None:
    call, approval = await asked(world)
    if way == "rest":
        digest = (await world.house.call_row(call)).digest
        body = {"verdict": "approved", "digest": digest, "arguments": {"amount": 20_000}}
        async with world.program(await world.token(Role.APPROVER, "api")) as http:
            answer = await http.post(f"/api/v1/approvals/{approval}/decide", json=body)
        assert answer.json()["code"] == "changed_needs_others"
    else:
        async with world.client() as http:
            page = await open_page(http, world, approval)
            wished = canonical.dumps(edited(page) | {"amount": 20_000})
            answer = await http.post(f"/a/{approval}", data=fields(page) | {"arguments": wished})
        assert "group &#39;directors&#39; must be asked" in answer.text
    assert answer.status_code == 403
    assert (await world.house.approval(call)).status == "pending"
    assert (await world.house.call_row(call)).approved_args is None
