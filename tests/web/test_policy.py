"""Rules tried out through REST, and standing yeses."""

import json
from typing import Any

import pytest

from control.executions import toolcalls
from control.identity.principals import Role
from tests.web.world import FLOW, World

CHANGED = FLOW.replace("args.amount > 100", "args.amount > 1000")


async def call(world: World, **args: Any) -> str:
    """A past call with what its rules saw, as the MCP door stores it."""
    principal = await world.house.running()
    facts = {"args": args, "flow": "process-payment", "execution": {"id": principal.execution_id}}
    return await world.house.call(principal, facts=facts, **args)


async def asked(world: World, path: str, body: dict[str, Any], role: Role = Role.VIEWER) -> Any:
    async with world.program(await world.token(role, "api")) as http:
        answer = await http.post(f"/api/v1{path}", content=json.dumps(body))
    return answer.json() | {"http": answer.status_code}


async def test_explain_names_the_rule_its_entry_and_what_it_looked_at(world: World) -> None:
    question = {"flow": "process-payment", "server": "payments", "tool": "pay", "args": {"amount": 1500}}
    found = await asked(world, "/policy/explain", question)
    assert (found["verdict"], found["group"], found["rule"]) == ("ask", "finance", "when: args.amount > 100")
    entry = found["entries"][0]
    assert (entry["number"], entry["when_says"], entry["values"]) == (1, "true", {"args.amount": 1500})


@pytest.mark.parametrize(
    ("tool", "args", "verdict", "says"),
    [
        ("pay", {"amount": 50}, "allow", "false"),
        ("pay", {}, "ask", "could not be decided"),
        ("pay", {"amount": "1500"}, "ask", "could not be decided"),
        ("steal", {"amount": 1}, "deny", None),
    ],
)
async def test_explain_says_what_would_be(
    world: World, tool: str, args: dict[str, Any], verdict: str, says: str | None
) -> None:
    question = {"flow": "process-payment", "server": "payments", "tool": tool, "args": args}
    found = await asked(world, "/policy/explain", question)
    assert found["verdict"] == verdict
    assert [entry["when_says"][: len(says or "")] for entry in found["entries"]] == ([says] if says else [])


async def test_explain_counts_what_the_run_did_so_far(world: World) -> None:
    await world.house.apply(FLOW.replace("args.amount > 100", "execution.tool_calls >= 3"))
    question = {"flow": "process-payment", "server": "payments", "tool": "pay"}
    free = await asked(world, "/policy/explain", question)
    gated = await asked(world, "/policy/explain", question | {"execution": {"tool_calls": 3}})
    assert (free["verdict"], gated["verdict"]) == ("allow", "ask")


async def test_replay_shows_exactly_the_calls_that_would_be_judged_differently(world: World) -> None:
    calls = {amount: await call(world, amount=amount) for amount in (50, 500, 1500)}
    found = await asked(world, "/policy/replay", {"source": CHANGED})
    assert (found["calls"], found["undecided"]) == (3, 0)
    [change] = found["changes"]
    assert (change["call_id"], change["arguments"]) == (calls[500], {"amount": 500})
    assert (change["before"]["verdict"], change["before"]["group"], change["after"]["verdict"]) == (
        "ask",
        "finance",
        "allow",
    )


async def test_replay_of_the_same_file_changes_nothing_and_saves_nothing(world: World) -> None:
    await call(world, amount=500)
    assert (await asked(world, "/policy/replay", {"source": FLOW}))["changes"] == []
    await asked(world, "/policy/replay", {"source": CHANGED})
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        flow = (await http.get("/api/v1/flows/process-payment")).json()
    assert (flow["version"], flow["tools"][0]["approval_when"]) == (1, "args.amount > 100")


async def test_a_call_answered_from_the_record_of_a_decline_is_one_the_same_rules_would_ask_about(world: World) -> None:
    principal = await world.house.gated(on_decline="continue")
    facts = {"args": {"amount": 500}, "flow": "process-payment", "execution": {"id": principal.execution_id}}
    first = await world.house.call(principal, facts=facts, amount=500)
    await world.house.decide(first, verdict="declined", reason="no")
    await world.house.db.write(lambda tx: toolcalls.delivered(tx, first))
    again = await world.house.call(principal, facts=facts, amount=500)
    assert (await world.house.call_row(again)).rule == "a person declined exactly this before"
    found = await asked(world, "/policy/replay", {"source": FLOW})
    assert (found["calls"], found["changes"]) == (2, [])
    changes = (await asked(world, "/policy/replay", {"source": CHANGED}))["changes"]
    assert {change["call_id"] for change in changes} == {first, again}


async def test_a_second_group_is_explained_and_replayed_as_one_that_is_asked_too(world: World) -> None:
    await call(world, amount=1500)
    entry = '  - {server: payments, tool: "*", approval: {group: alone, when: "args.amount > 1000"}}'
    both = FLOW.replace("limits:", f"{entry}\nlimits:")
    [change] = (await asked(world, "/policy/replay", {"source": both}))["changes"]
    assert (change["before"]["group"], change["after"]["group"]) == ("finance", "finance, alone")
    await world.house.apply(both)
    question = {"flow": "process-payment", "server": "payments", "tool": "pay", "args": {"amount": 1500}}
    found = await asked(world, "/policy/explain", question)
    assert (found["verdict"], found["group"]) == ("ask", "finance, alone")
    await call(world, amount=1500)
    changes = (await asked(world, "/policy/replay", {"source": both}))["changes"]
    assert [change["before"]["group"] for change in changes] == ["finance"]


async def test_replay_says_when_a_rule_asks_for_what_nobody_kept(world: World) -> None:
    await call(world, amount=50)
    source = FLOW.replace("args.amount > 100", "execution.spend_usd > 1.0")
    found = await asked(world, "/policy/replay", {"source": source})
    assert (found["undecided"], found["changes"][0]["after"]["verdict"]) == (1, "ask")


async def test_replay_refuses_a_file_that_could_not_be_saved(world: World) -> None:
    found = await asked(world, "/policy/replay", {"source": FLOW.replace("> 100", ">")})
    assert (found["http"], found["code"]) == (422, "rule_invalid")


# standing yeses -------------------------------------------------------------------------------------------------------


async def test_a_standing_yes_is_given_listed_and_taken_back(world: World) -> None:
    principal = await world.house.running()
    first = await world.house.call(principal, amount=1500)
    approval = (await world.house.approval(first)).id
    wish = {"approval_id": approval, "exact": False, "condition": "args.amount < 2000", "uses": 2, "minutes": 30}
    assert (await asked(world, "/grants", wish, Role.APPROVER))["code"] == "grant_without_yes"
    await world.house.decide(first)
    given = await asked(world, "/grants", wish, Role.APPROVER)
    assert (given["http"], given["live"], given["uses_left"], given["created_by"]) == (201, True, 2, "alice")
    second = await world.house.call(principal, amount=1600)
    assert (await world.house.call_row(second)).status == "ready"
    taken = await asked(world, f"/grants/{given['id']}/revoke", {}, Role.APPROVER)
    assert (taken["live"], taken["uses_left"]) == (False, 1)
    assert (await world.house.call_row(await world.house.call(principal, amount=1700))).status == "waiting"
    async with world.program(await world.token(Role.VIEWER, "api")) as http:
        listed = (await http.get("/api/v1/grants", params={"session": principal.session_id})).json()["items"]
    assert [grant["id"] for grant in listed] == [given["id"]]


@pytest.mark.parametrize("role", [Role.VIEWER, Role.ADMIN])
async def test_only_an_approver_who_was_asked_gives_one(world: World, role: Role) -> None:
    call_id = await world.house.call(await world.house.running())
    await world.house.decide(call_id)
    wish = {"approval_id": (await world.house.approval(call_id)).id}
    assert (await asked(world, "/grants", wish, role))["http"] == 403
