"""What stands first on the page of an execution, and its line in the list: times, cost, where it came from."""

import hashlib
import re
from datetime import timedelta

import pytest
import sqlalchemy as sa

from control.executions import results
from control.executions.results import Artifact
from control.identity.charter import Gate, ToolGrant
from control.tables import executions
from kit.db import Tx
from tests.browser.scene import Scene, begin, set_scene, write_log
from tests.web.test_decisions import ask
from tests.web.test_run import read, words
from tests.web.world import World, compact


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


async def test_the_split_says_how_long_it_was_queued_at_work_and_waiting(world: World, scene: Scene) -> None:
    run = scene.runs["SUCCEEDED"]

    def timed(tx: Tx) -> None:
        at = tx.now() - timedelta(hours=1)
        times = {"created_at": at, "claimed_at": at + timedelta(seconds=10), "ended_at": at + timedelta(seconds=100)}
        mine = sa.update(executions).where(executions.c.id == run)
        tx.execute(mine.values(times | {"waited_ms": 30_000, "waiting_since": None}))

    await world.house.db.write(timed)
    html = await read(world, f"/executions/{run}")
    assert 'aria-label="Queued 10.0 s, active 1 min 00 s, waiting 30.0 s"' in html
    assert "Queued 10.0 s Active 1 min 00 s Waiting for approval 30.0 s" in words(html)
    assert re.findall(r'<rect class="(\w+)" x="(\d+)" y="0" width="(\d+)"', html) == [
        ("queued", "0", "100"),
        ("active", "100", "600"),
        ("waiting", "700", "300"),
    ]


async def test_tokens_and_cost_stand_in_the_overview_and_in_rest(world: World, scene: Scene) -> None:
    run = scene.runs["SUCCEEDED"]
    await world.spent(run)
    assert "Cost $0.0246 Tokens 2,400 in, 168 out" in words(await read(world, f"/executions/{run}"))
    async with world.program(await world.token(kind="api")) as http:
        told = (await http.get(f"/api/v1/executions/{run}")).json()
    assert (told["input_tokens"], told["output_tokens"]) == (2400, 168)


async def test_the_log_leads_to_its_first_error(world: World, scene: Scene) -> None:
    run = scene.runs["FAILED"]
    assert 'href="#L" hidden>First error</a>' in await read(world, f"/executions/{run}")
    say = ("agent", "info", 'he said ", "error", "'), ("agent", "error", "no contract"), ("agent", "error", "gave up")
    await write_log(world, run, say)
    assert 'href="#L7" >First error</a>' in await read(world, f"/executions/{run}")


async def test_a_trigger_leads_to_where_it_came_from(world: World) -> None:
    issue = "https://git.example.com/acme/shop/issues/7"
    for trigger, source in (("webhook", issue), ("webhook", "javascript:alert(1)"), ("schedule", None)):
        await world.house.start(trigger=trigger, source_url=source)
    html = await read(world, "/executions")
    cells = re.findall(r'<td class="trigger name".*?</td>', html, re.DOTALL)
    assert [re.findall(r'href="([^"]+)"', cell) for cell in cells] == [["/flows/process-payment"], [], [issue]]


async def test_what_is_as_large_as_an_event_may_be_runs_again(world: World) -> None:
    """By page and by REST, and so does that."""
    limit = 1 << 20
    payload = {"recipient": "a@b.c", "amount": 5, "note": ""}
    payload["note"] = '"é\\' * ((limit - len(compact({"payload": payload}))) // 11)
    run = await world.house.start(payload=payload)
    async with world.client(await world.token()) as http:
        await http.post(f"/executions/{run}/cancel")
        answer = await http.post(f"/executions/{run}/rerun")
        assert answer.status_code == 303
        again = answer.headers["location"].removeprefix("/executions/")
        assert (await http.get(f"/executions/{again}")).status_code == 200
    async with world.program(await world.token(kind="api")) as http:
        assert (await http.post(f"/api/v1/executions/{again}/rerun")).status_code == 202
    rows = await world.house.db.read(sa.select(executions.c.trigger_event))
    assert len(rows) == 3 and len({row.trigger_event for row in rows}) == 1


async def test_an_agent_of_somebodys_own_has_a_page_of_its_session_that_calls_lead_to(world: World) -> None:
    agent = await world.house.enroll(await begin(world), "agent:night-clerk")
    call = await world.house.call(agent, "get_contract", id="C-1")
    html = await read(world, "/tool-calls")
    [leads] = re.findall(r'<a href="([^"]+)" aria-label="View details of get_contract', html)
    assert leads == f"/sessions/{agent.session_id}"
    assert "payments/get_contract" in await read(world, leads) and call


async def test_the_result_it_wrote_stands_on_top_and_can_be_copied(world: World, scene: Scene) -> None:
    run, content = scene.runs["SUCCEEDED"], '{"paid": "1500 \u202eDSU"}'.encode()
    sha256 = hashlib.sha256(content).hexdigest()
    await world.house.blobs.put(results.file_of(run, sha256), content)
    row, left = await world.house.row(run), [Artifact(name=results.RESULT, size=len(content), sha256=sha256)]
    await world.house.db.write(lambda tx: results.add(tx, row, left))
    html = await read(world, f"/executions/{run}")
    top = html[: html.index("Triggered")]
    assert 'aria-label="Copy result.json"' in top
    assert "U+202E" in top and "\u202e" not in html


async def test_who_has_not_agreed_yet_is_named_of_every_group(world: World) -> None:
    gates = (Gate(group="finance", quorum=2), Gate(group="alone"))
    tools = tuple(ToolGrant(server="payments", tool="pay", approval=gate) for gate in gates)
    run, call, _ = await ask(world, await world.house.running(tools=tools))
    address = f"/executions/{run.execution_id}"
    assert "Alice Moreau, Bob Okafor (2 must agree); and Carol" in words(await read(world, address))
    await world.house.decide(call, approver="alice")
    told = words(await read(world, address))
    assert "Bob Okafor; and Carol" in told
    assert "Alice" not in told.partition("Overview")[0]
    await world.house.decide(call, approver="bob")
    assert "Waiting for approval of pay Carol ·" in words(await read(world, address))
