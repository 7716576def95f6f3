"""What is in force through REST: the operator's settings as shown, and the account's own, which an admin changes."""

import httpx
import pytest

from control import events
from control.identity.principals import Role
from tests.control.house import ACCOUNT
from tests.web.world import World


@pytest.fixture
async def token(world: World) -> str:
    return await world.token(Role.ADMIN, "api")


async def change(world: World, token: str, body: object) -> httpx.Response:
    async with world.program(token) as http:
        return await http.patch("/api/v1/settings", json=body)


async def test_a_fresh_account_has_its_plan_and_keeps_everything(world: World, token: str) -> None:
    async with world.program(token) as http:
        account = (await http.get("/api/v1/settings")).json()["account"]
    assert (account["plan"], account["slots"], account["time_zone"]) == ("pro", 20, "UTC")
    assert account["retention"] == {
        **dict.fromkeys(("logs_days", "payloads_days", "results_days", "bodies_days", "keep")),
        "chosen": [],
    }
    assert account["storage"]["bytes"] == 0


async def test_a_plan_and_a_time_zone_hold_from_now_on_and_are_recorded(world: World, token: str) -> None:
    answer = await change(world, token, {"plan": "starter", "time_zone": "Europe/Berlin"})
    account = answer.json()["account"]
    assert (account["plan"], account["slots"], account["time_zone"]) == ("starter", 5, "Europe/Berlin")
    told = [e for e in await events.read(world.house.db, ACCOUNT, events.ACCOUNT) if e.type == "account.changed"]
    assert [event.data for event in told] == [
        {"by": "admin@example.com", "plan": "starter", "time_zone": "Europe/Berlin"}
    ]


async def test_more_slots_wake_the_queue(world: World, token: str) -> None:
    with world.house.bus.watch("queue") as woken:
        await change(world, token, {"plan": "enterprise"})
        assert woken.pending


async def test_retention_is_changed_key_by_key_and_given_back(world: World, token: str) -> None:
    await change(world, token, {"retention": {"logs_days": 30, "keep": "10g"}})
    kept = (await change(world, token, {"retention": {"logs_days": None, "results_days": 7}})).json()["account"]
    assert kept["retention"] | {} == {
        "logs_days": None,
        "payloads_days": None,
        "results_days": 7,
        "bodies_days": None,
        "keep": 10 << 30,
        "chosen": ["keep", "logs_days", "results_days"],
    }
    back = (await change(world, token, {"retention": None})).json()["account"]["retention"]
    assert (back["keep"], back["chosen"]) == (None, [])


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"plan": "golden"}, "plan_unknown"),
        ({"time_zone": "Mars/Base"}, "time_zone_unknown"),
        ({"time_zone": "../etc/passwd"}, "time_zone_unknown"),
        ({"time_zone": ""}, "time_zone_unknown"),
        ({"retention": {"logs": 3}}, "retention_invalid"),
        ({"retention": {"logs_days": -1}}, "retention_invalid"),
        ({"slots": 9}, "body_unknown"),
    ],
)
async def test_what_makes_no_sense_is_named_and_changes_nothing(
    world: World, token: str, body: dict[str, object], code: str
) -> None:
    answer = await change(world, token, {"plan": "free"} | body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    async with world.program(token) as http:
        assert (await http.get("/api/v1/settings")).json()["account"]["plan"] == "pro"


@pytest.mark.parametrize("role", [Role.VIEWER, Role.APPROVER, Role.OPERATOR])
async def test_only_an_admin_sees_and_changes_settings(world: World, role: Role) -> None:
    async with world.program(await world.token(role, "api")) as http:
        assert (await http.get("/api/v1/settings")).status_code == 403
        assert (await http.patch("/api/v1/settings", json={"plan": "free"})).status_code == 403
