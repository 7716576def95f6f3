"""What the approval page tells of a request: what is new in it, the run around it, and its end."""

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
import sqlalchemy as sa

from control.executions.states import Cause
from control.identity.charter import Gate, ToolGrant
from control.tables import executions, tool_calls
from tests.web.test_decisions import PAYMENT, ask, fields, open_page
from tests.web.world import World
from web import arguments


async def page_of(world: World, approval: str, approver: str = "alice") -> str:
    """The page's words, without its tags."""
    async with world.client() as http:
        html = (await open_page(http, world, approval, approver)).text
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html.partition("<main")[2])).split())


# the risk and the rule ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gate", "words"),
    [
        ({}, "Asked by rule every call is asked of finance"),
        ({"when": "args.amount > 1"}, "Asked by rule when: args.amount > 1"),
        ({"confirm": "typed"}, "High risk every call"),
        ({"sign_in": True}, "High risk every call"),
        ({"when": "args.nothing > 1"}, "Rule unclear when: args.nothing > 1 could not be decided"),
    ],
)
async def test_the_risk_stands_with_the_rule_that_fired(world: World, gate: dict[str, Any], words: str) -> None:
    _, _, approval = await ask(world, **gate)
    assert words in await page_of(world, approval)


# what is new ----------------------------------------------------------------------------------------------------------


def marks(args: object, before: object) -> dict[str, str]:
    return {"".join(p.text for p in row.path): row.mark for row in arguments.rows(args, before)}


def test_rows_are_marked_against_the_call_before() -> None:
    before = {"amount": 1500, "to": "a", "ids": [1], "note": "x"}
    after = {"amount": "1500", "to": "a", "ids": [1, 2], "key": "k"}
    assert marks(after, before) == {"amount": "changed", "to": "same", "ids[0]": "same", "ids[1]": "new", "key": "new"}
    assert ["".join(p.text for p in row.path) for row in arguments.gone(after, before)] == ["note"]
    assert {row.mark for row in arguments.rows(after)} == {""}


def test_a_changed_secret_is_marked_and_neither_is_shown() -> None:
    [row] = arguments.rows({"password": "new-one"}, {"password": "old-one"})
    assert (row.mark, row.masked) == ("changed", True)
    assert "new-one" not in str(row) and "old-one" not in str(row)


async def test_the_page_marks_what_changed_since_the_last_call_of_the_run(world: World) -> None:
    principal, call, first = await ask(world)
    assert "compared with" not in await page_of(world, first)
    await world.house.decide(call)
    again = await world.house.call(principal, **PAYMENT | {"amount": 1600, "memo": "b"})  # type: ignore[arg-type]
    words = await page_of(world, (await world.house.approval(again)).id)
    assert "compared with the call before, just now: ready" in words
    assert "amount changed number 1600 before: 1500" in words
    assert "memo new text b" in words


async def test_without_one_it_is_the_flow_s_last_request(world: World) -> None:
    _, call, _ = await ask(world)
    await world.house.decide(call, verdict="declined", reason="no")
    principal = await world.house.gated()
    mine = await world.house.call(principal, amount=2000, recipient=PAYMENT["recipient"])
    words = await page_of(world, (await world.house.approval(mine)).id)
    assert "just now in another run: declined" in words
    assert "amount changed number 2000 before: 1500" in words
    assert "left out 1 value of the call before api_key: ••••••••" in words


async def test_a_long_value_is_folded_and_whole(world: World) -> None:
    principal = await world.house.gated()
    text = "start " + "word " * 2000 + "the end"
    call = await world.house.call(principal, text=text)
    async with world.client() as http:
        html = (await open_page(http, world, (await world.house.approval(call)).id)).text
    folded = re.search(r"<summary>(\d+) characters: show all</summary>(.*?)</details>", html, re.DOTALL)
    assert folded and (int(folded[1]), folded[2]) == (len(text), text)


# the run around it ----------------------------------------------------------------------------------------------------


async def test_the_page_tells_what_the_run_did_and_spent(world: World) -> None:
    principal = await world.house.running()
    await world.spent(principal.execution_id, 12_300_000)
    first = await world.house.call(principal, "get_contract", id="C-1")
    await world.house.claim(principal, first)
    await world.house.settle(first)
    call = await world.house.call(principal, **PAYMENT)  # type: ignore[arg-type]
    words = await page_of(world, (await world.house.approval(call)).id)
    for told in (
        "Step tool call 2 of this run",
        "Spent so far $0.0123",
        "Budget left no limit",
        "in 1 model call",
        "get_contract · Succeeded",
        "Trigger manual",
        "The flow process-payment asks",
    ):
        assert told in words


async def test_what_is_left_of_a_budget_is_told(world: World) -> None:
    principal = await world.house.running(budget_nano=2_000_000_000)
    await world.spent(principal.execution_id, 500_000_000)
    call = await world.house.call(principal, **PAYMENT)  # type: ignore[arg-type]
    assert "Budget left $1.50" in await page_of(world, (await world.house.approval(call)).id)


async def test_the_link_to_what_triggered_it_is_web_only(world: World) -> None:
    for address, links in (("https://example.com/pr/1", 1), ("javascript:alert(1)", 0)):
        principal = await world.house.gated()
        run = sa.update(executions).where(executions.c.id == principal.execution_id)
        await world.house.db.write(lambda tx, run=run, address=address: tx.execute(run.values(source_url=address)))  # type: ignore[misc]
        call = await world.house.call(principal, **PAYMENT)  # type: ignore[arg-type]
        async with world.client() as http:
            html = (await open_page(http, world, (await world.house.approval(call)).id)).text
        assert html.count(f'href="{address}"') == links


async def test_every_group_that_must_agree_is_told_with_its_count(world: World) -> None:
    gates = (Gate(group="finance", quorum=2), Gate(group="alone"))
    tools = tuple(ToolGrant(server="payments", tool="pay", approval=gate) for gate in gates)
    _, call, approval = await ask(world, await world.house.running(tools=tools))
    await world.house.decide(call, approver="bob")
    words = await page_of(world, approval, "carol")
    assert "Asked of finance Alice Moreau, Bob Okafor (agreed) · 1 of 2 agreed" in words
    assert "Asked of alone Carol · 0 of 1 agreed" in words
    assert "Your decision as Carol" in words
    assert "Approve with changed arguments" not in words
    await world.house.decide(call, approver="carol")
    assert (await world.house.approval(call)).status == "pending"
    assert "You have voted; others must agree too." in await page_of(world, approval, "carol")


# the justification ----------------------------------------------------------------------------------------------------


async def test_the_agent_s_words_are_labelled_and_stand_below_the_arguments(world: World) -> None:
    _, call, approval = await ask(world)
    words = sa.update(tool_calls).where(tool_calls.c.id == call).values(justification="Please. " + "x" * 1500)
    await world.house.db.write(lambda tx: tx.execute(words))
    told = await page_of(world, approval)
    assert told.index("Arguments") < told.index("The agent’s own words not checked by anybody") < told.index("Context")
    assert "508 more characters" in told


# declining ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "kept"),
    [
        ({"preset": "Not needed", "reason": ""}, "Not needed"),
        ({"preset": "Wrong arguments", "reason": "twice the invoice"}, "Wrong arguments: twice the invoice"),
        ({"preset": "", "reason": "over budget"}, "over budget"),
        ({"reason": "over budget"}, "over budget"),
    ],
)
async def test_a_reason_is_chosen_written_or_both(world: World, form: dict[str, str], kept: str) -> None:
    _, call, approval = await ask(world)
    async with world.client() as http:
        given = fields(await open_page(http, world, approval)) | {"verdict": "declined"} | form
        assert (await http.post(f"/a/{approval}", data=given)).status_code == 303
    assert (await world.house.approval(call)).reason == kept


async def test_another_reason_without_words_is_none(world: World) -> None:
    _, call, approval = await ask(world)
    async with world.client() as http:
        given = fields(await open_page(http, world, approval)) | {"verdict": "declined", "preset": "", "reason": " "}
        answer = await http.post(f"/a/{approval}", data=given)
    assert (answer.status_code, "Say why you decline" in answer.text) == (422, True)
    assert (await world.house.approval(call)).status == "pending"


# its end --------------------------------------------------------------------------------------------------------------


async def test_who_decided_and_how_long_ago(world: World) -> None:
    _, call, approval = await ask(world)
    await world.house.decide(call, approver="bob", reason="fine")
    await world.house.age(call, timedelta(minutes=2))
    words = await page_of(world, approval)
    assert "Approved by Bob Okafor 2 min ago" in words
    assert "Reason: fine" in words


async def test_a_yes_whose_caller_is_gone_says_that_nothing_ran(world: World) -> None:
    principal, call, approval = await ask(world)
    await world.house.decide(call)
    assert "Approved, awaiting the caller. The tool was not called yet" in await page_of(world, approval)
    assert await world.house.claim(principal, call)
    assert "The tool is running now" in await page_of(world, approval)
    await world.house.settle(call, transaction_id="tx_1")
    told = await page_of(world, approval)
    assert "The tool answered" in told and "tx_1" in told and "Receipt: event" in told


async def test_an_expired_one_says_that_nothing_was_called(world: World) -> None:
    _, call, approval = await ask(world)
    await world.house.age(call, timedelta(minutes=11))
    assert "the time to decide is over, and the tool was not called" in await page_of(world, approval)
    await world.house.db.write(world.house.desk.expire)
    assert "the time to decide is over, and the tool was not called" in await page_of(world, approval)


async def test_a_withdrawn_one_says_that_the_agent_is_gone(world: World) -> None:
    principal, _, approval = await ask(world)
    await world.house.end(principal.execution_id, Cause.CANCELLED)
    assert "Withdrawn" in (told := await page_of(world, approval))
    assert "nothing is called for it any more" in told


async def test_an_enrolled_agent_is_called_one_and_has_no_flow(world: World) -> None:
    agent = await world.house.enroll(await world.house.gated(), name="agent:night-clerk")
    _, _, approval = await ask(world, agent)
    words = await page_of(world, approval)
    assert "The enrolled agent night-clerk asks to" in words
    assert "Flow none: an enrolled agent, started by no trigger" in words
    assert "Enrolled by alice@example.com" in words
    assert "tool call 1 of this session" in words
    assert "this run" not in words.lower()
    async with world.client(await world.token()) as http:
        assert "none: enrolled agent" in (await http.get("/approvals")).text
