"""The page of one execution as text: what stands first, what opens, what the record says of models, who may press."""

import json
import re

import pytest
import sqlalchemy as sa

from control import events
from control.executions import intake
from control.executions.states import Cause
from control.identity.principals import Role
from control.tables import executions
from kit.db import Tx
from ledger.tables import entries
from tests.browser.scene import Scene, end, set_scene
from tests.control.house import ACCOUNT
from tests.web.world import World


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


async def read(world: World, path: str, role: Role = Role.ADMIN) -> str:
    async with world.client(await world.token(role)) as http:
        answer = await http.get(path)
    assert answer.status_code == 200
    return answer.text


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


async def record(world: World, run: str, *happened: tuple[str, dict[str, object]]) -> None:
    await world.house.db.write(lambda tx: events.append_many(tx, ACCOUNT, run, happened))


async def attempt(world: World, run: str) -> str:
    [row] = await world.house.db.read(sa.select(entries.c.id).where(entries.c.execution_id == run))
    return str(row.id)


async def test_what_the_agent_says_stands_first_when_it_succeeded(world: World, scene: Scene) -> None:
    run = scene.runs["SUCCEEDED"]
    await record(world, run, (events.FINISHED, {"ok": True, "message": "Paid <b>1,500</b> USD"}))
    html = await read(world, f"/executions/{run}")
    assert html.index("Paid &lt;b&gt;1,500&lt;/b&gt; USD") < html.index("Triggered")


async def test_the_error_has_the_last_lines_folded_beside_it(world: World, scene: Scene) -> None:
    html = await read(world, f"/executions/{scene.runs['FAILED']}")
    trace = html[html.index('<details id="trace">') : html.index("</details>", html.index('<details id="trace">'))]
    assert "Calling pay tool with arguments..." in trace
    assert html.index('id="trace"') < html.index("Triggered")


async def test_a_model_call_says_how_it_was_routed_allowed_and_answered(world: World, scene: Scene) -> None:
    run = scene.runs["RUNNING"]
    id_ = await attempt(world, run)
    call: dict[str, object] = {"attempt": id_, "number": 1}
    await record(
        world,
        run,
        ("model.fallback", {"after": "att_0"}),
        ("model.requested", call | {"held_nano": 20_000_000, "alias": "default", "model": "m"}),
        ("model.failed", call | {"stage": "upstream", "upstream_status": 429, "message": "slow down"}),
        ("model.refused", {"alias": "default", "stage": "budget", "error": "budget_exceeded", "message": "spent"}),
    )
    said = words(await read(world, f"/executions/{run}"))
    for told in ("default → scripted", "fallback", "allowed held $0.02", "429", "stage upstream", "slow down"):
        assert told in said, told
    assert "no model was asked refused" in said
    async with world.program(await world.token(kind="api")) as http:
        [item] = (await http.get(f"/api/v1/executions/{run}/model-calls")).json()["items"]
    assert item["told"] == {
        "came_by": "fallback",
        "held_usd": "0.02",
        "upstream_status": 429,
        "stage": "upstream",
        "message": "slow down",
    }


async def test_an_error_of_a_model_leads_to_the_call_and_says_its_status(world: World, scene: Scene) -> None:
    run = scene.runs["RUNNING"]
    id_ = await attempt(world, run)
    await world.house.db.write(lambda tx: _fail(tx, id_))
    call = {"attempt": id_, "number": 0}
    await record(world, run, ("model.failed", call | {"stage": "upstream", "upstream_status": 529, "message": "busy"}))
    await end(world, scene.running, Cause.MODEL_ERROR, "Overloaded")
    about = {"stage": "upstream", "tool": None, "model": "default", "provider": "scripted"}
    await record(world, run, (events.DIAGNOSED, {"cause": "model_error", **about}))
    html = await read(world, f"/executions/{run}")
    said = words(html)
    assert "Broke in stage: upstream · model default · provider scripted · the call , answered with status 529" in said
    assert f'<a href="#{id_}">the call</a>' in html


def _fail(tx: Tx, id_: str) -> None:
    tx.execute(sa.update(entries).where(entries.c.id == id_).values(status="failed", error_class="overloaded"))


async def test_each_bar_of_the_timeline_leads_to_a_row_that_is_there(world: World, scene: Scene) -> None:
    for state in ("SUCCEEDED", "FAILED", "WAITING_FOR_APPROVAL", "RUNNING"):
        html = await read(world, f"/executions/{scene.runs[state]}")
        picture = html[html.index('<ol class="waterfall">') : html.index("</ol>")]
        bars = re.findall(r'<a href="#([^"]+)" class="([^"]+)" aria-label="([^"]+)"', picture)
        assert bars and all(name for _, _, name in bars)
        assert all(f'id="{row}"' in html for row, _, _ in bars), state
    waiting = await read(world, f"/executions/{scene.runs['WAITING_FOR_APPROVAL']}")
    assert re.search(r'class="approval open" aria-label="Approval of pay: [^"]* and still going', waiting)
    assert '<ol class="waterfall">' not in await read(world, f"/executions/{scene.runs['PENDING']}")


async def test_a_variable_without_a_value_is_marked_in_the_prompt(world: World) -> None:
    def unit(tx: Tx) -> str:
        payload = {"payment": 5, "recipient": "a@b.c"}
        return intake.start(tx, ACCOUNT, "process-payment", payload, trigger="manual", by="test").execution_id

    run = await world.house.db.write(unit)
    html = await read(world, f"/executions/{run}")
    assert (
        len(re.findall(r'<mark class="missing" title="nothing in the event for trigger_event.payload.amount">', html))
        == 1
    )
    assert '<mark title="trigger_event.payload.recipient">a@b.c</mark>' in html


async def test_operators_run_what_is_over_again_and_nobody_else_does(world: World, scene: Scene) -> None:
    over, path = scene.runs["FAILED"], f"/executions/{scene.runs['FAILED']}"
    assert "Run again" in await read(world, path, Role.OPERATOR)
    assert "Run again" not in await read(world, path, Role.APPROVER)
    assert "Run again" not in await read(world, f"/executions/{scene.runs['RUNNING']}", Role.OPERATOR)
    async with world.client(await world.token(Role.APPROVER)) as http:
        assert (await http.post(f"{path}/rerun")).status_code == 403
    async with world.client(await world.token(Role.OPERATOR)) as http:
        answer = await http.post(f"{path}/rerun")
    assert answer.status_code == 303
    new = answer.headers["location"].removeprefix("/executions/")
    row = await world.house.row(new)
    assert (row.reruns, json.loads(row.trigger_event)) == (
        over,
        json.loads((await world.house.row(over)).trigger_event),
    )


async def test_an_open_row_has_both_sides_the_rule_and_the_decision(world: World, scene: Scene) -> None:
    said = words(await read(world, f"/executions/{scene.runs['SUCCEEDED']}"))
    assert '"transaction_id"' in said.replace("&#34;", '"')
    assert "Approval : approved by Alice Moreau: matches the contract" in said


async def test_the_list_filters_by_trigger_and_leads_back_to_the_newest(world: World, scene: Scene) -> None:
    hooked = await world.house.start(trigger="webhook")
    html = await read(world, "/executions?trigger=webhook&flow=process-payment")
    assert re.findall(r'id="row-(exe_\w+)"', html) == [hooked]
    assert '<option value="webhook" selected>' in html
    assert '<datalist id="flows"><option value="process-payment">' in html
    first = await read(world, "/executions?trigger=manual&limit=3")
    older = re.findall(r'<a href="([^"]+)" rel="next">', first)[0].replace("&amp;", "&")
    second = await read(world, f"/executions{older}&limit=3")
    assert '<a href="?trigger=manual">Newest executions</a>' in second
    assert not set(re.findall(r'id="row-(exe_\w+)"', first)) & set(re.findall(r'id="row-(exe_\w+)"', second))


async def test_a_moment_before_all_ids_brings_everything(world: World, scene: Scene) -> None:
    rows = await world.house.db.read(sa.select(executions.c.id))
    html = await read(world, "/executions?since=0001-01-01")
    assert set(re.findall(r'id="row-(exe_\w+)"', html)) == {row.id for row in rows}
