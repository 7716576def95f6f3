"""Pages as text: the product page's labels, who may press what, live parts, and nothing inline."""

import re
from pathlib import Path

import pytest
import sqlalchemy as sa

from control.executions import logs
from control.identity.principals import Role
from control.tables import tool_calls
from kit.db import Tx
from tests.browser.scene import PAYMENT, Scene, set_scene
from tests.web.test_links import found
from tests.web.world import FLOW, World
from web import render

TEMPLATES = sorted((render.HERE / "templates").rglob("*.html"))


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


async def read(world: World, path: str, role: Role = Role.ADMIN, status: int = 200) -> str:
    async with world.client(await world.token(role)) as http:
        answer = await http.get(path)
    assert answer.status_code == status
    return answer.text


async def test_the_list_has_the_columns_and_actions_of_the_product_page(world: World, scene: Scene) -> None:
    html = await read(world, "/executions")
    heads = re.findall(r"<th[^>]*>([^<]+)</th>", html)
    assert heads == ["Status", "Flow", "Trigger", "Started", "Duration", "Cost", "Actions"]
    assert html.count(">View details</a>") == len(scene.runs)
    assert {"Pending", "Running", "Waiting for Approval", "Succeeded", "Failed", "Timeout", "Cancelled"} <= set(
        re.findall(r"</svg>\s*([\w ]+)</span>", html)
    )


async def test_an_empty_list_shows_the_command_of_the_first_run(world: World) -> None:
    assert "preloop run process-payment" in await read(world, "/executions")


async def test_a_failed_run_says_first_what_failed_and_what_to_try(world: World, scene: Scene) -> None:
    html = await read(world, f"/executions/{scene.runs['FAILED']}")
    order = [html.index(part) for part in ("Tool failure", "no contract CONTRACT-404", "Suggestion:", "Agent Logs")]
    assert order == sorted(order)
    assert "<title>Failed: process-payment · Preloop</title>" in html


async def test_a_declined_run_names_the_tool_that_was_declined_and_leads_to_its_call(world: World) -> None:
    principal = await world.house.running(on_decline="fail")
    failed = await world.house.call(principal, "get_contract", id="CONTRACT-404")
    await world.house.claim(principal, failed)
    await world.house.db.write(lambda tx: world.house.desk.settle(tx, failed, result=None, is_error=True, error="no"))
    call = await world.house.call(principal, **PAYMENT)
    await world.house.decide(call, approver="alice", verdict="declined", reason="too much")
    html = await read(world, f"/executions/{principal.execution_id}")
    assert "Broke in stage: approval" in html
    assert f'Failed tool: <a href="#{call}">pay</a>' in html


async def test_a_waiting_run_names_its_approvers_and_the_way_to_them(world: World, scene: Scene) -> None:
    html = await read(world, f"/executions/{scene.runs['WAITING_FOR_APPROVAL']}")
    assert "Alice Moreau, Bob Okafor" in html
    assert f'href="/approvals/{scene.approval}"' in html
    assert "data-until" in html


async def test_a_run_with_more_calls_than_the_page_takes_says_so(world: World) -> None:
    house = world.house
    principal = await house.running()
    first = dict((await house.call_row(await house.call(principal, "get_contract")))._mapping)
    path = f"/executions/{principal.execution_id}"

    def add(tx: Tx, numbers: range) -> None:
        tx.execute(sa.insert(tool_calls), [first | {"id": f"tcl_{n:026}", "digest": str(n)} for n in numbers])

    await house.db.write(lambda tx: add(tx, range(1, 100)))
    assert "These are the first" not in await read(world, path)
    await house.db.write(lambda tx: add(tx, range(100, 103)))
    html = await read(world, path)
    assert "These are the first 100 of 103." in html
    assert f'<a href="/api/v1{path}/tool-calls">' in html


async def test_only_what_changes_is_sent_again(world: World, scene: Scene) -> None:
    html = await read(world, f"/executions/{scene.runs['RUNNING']}?part=live")
    assert re.findall(r'<div id="(\w+)" data-live', html) == ["summary", "timeline", "tables", "left"]
    assert "<html" not in html
    assert "Agent Logs" not in html
    await read(world, f"/executions/{scene.runs['RUNNING']}?part=../base", status=404)


async def test_a_final_run_is_not_asked_for_again(world: World, scene: Scene) -> None:
    assert "data-every" not in await read(world, f"/executions/{scene.runs['SUCCEEDED']}")
    assert 'data-every="1000"' in await read(world, f"/executions/{scene.runs['RUNNING']}")


async def test_what_the_container_printed_can_be_kept_once_it_is_gone(world: World, scene: Scene) -> None:
    path = f"/executions/{scene.runs['SUCCEEDED']}"
    assert "The raw output of" in await read(world, f"{path}/output.txt", status=404)
    await world.house.blobs.put(logs.file_of(scene.runs["SUCCEEDED"]), b'at {"type":"turn.completed"}\n')
    assert await read(world, f"{path}/output.txt") == 'at {"type":"turn.completed"}\n'
    assert f'href="{path}/output.txt"' in await read(world, path)
    assert "output.txt" not in await read(world, f"/executions/{scene.runs['RUNNING']}")


async def test_the_log_can_be_kept(world: World, scene: Scene) -> None:
    text = await read(world, f"/executions/{scene.runs['RUNNING']}/log.txt")
    assert "Starting task: Process payment for contractor" in text
    assert len(text.splitlines()) == 5


async def test_a_wrong_payload_stays_in_the_form(world: World) -> None:
    async with world.client(await world.token()) as http:
        wrong = await http.post("/flows/process-payment/executions", data={"payload": '{"amount": oops'})
        assert wrong.status_code == 422
        assert "{&#34;amount&#34;: oops" in wrong.text
        right = await http.post("/flows/process-payment/executions", data={"payload": '{"amount": 5}'})
        assert re.fullmatch(r"/executions/exe_\w{26}", right.headers["location"])
        page = await http.get(right.headers["location"])
    assert "trigger_event.payload.recipient" in page.text  # the prompt's variable nobody filled


async def test_only_those_who_were_asked_get_buttons(world: World, scene: Scene) -> None:
    path = f"/approvals/{scene.approval}"
    assert "Approve</button>" in await read(world, path, Role.APPROVER)
    admin = await read(world, path, Role.ADMIN)
    assert "Approve</button>" not in admin
    assert "not among those who were asked" in admin


async def test_a_signed_in_decision_is_recorded_and_shown(world: World, scene: Scene) -> None:
    path = f"/approvals/{scene.approval}"
    async with world.client(await world.token(Role.APPROVER)) as http:
        page = (await http.get(path)).text
        shown = {name: found(page, name) for name in ("digest", "definition", "rule")}
        fields = shown | {"verdict": "declined", "reason": ""}
        assert (await http.post(path + "/decide", data=fields)).status_code == 422
        done = await http.post(path + "/decide", data=fields | {"reason": "over budget"})
        assert done.headers["location"] == path
        after = (await http.get(path)).text
    assert "Declined by Alice Moreau" in after
    assert "over budget" in after


async def test_every_answer_has_the_strict_headers(world: World) -> None:
    async with world.client(await world.token()) as http:
        for path in ("/", "/nothing", "/a/x", "/api/v1/executions", "/healthz"):
            headers = (await http.get(path)).headers
            assert "default-src 'none'" in headers["content-security-policy"]
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
        kept = await http.get(f"/static/{render.BUILD}/base.css")
        assert "immutable" in kept.headers["cache-control"]


async def test_a_page_that_is_not_there_is_a_page(world: World) -> None:
    html = await read(world, "/nothing", status=404)
    assert "There is nothing at this address." in html


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_nothing_is_inline_and_nothing_skips_the_escaping(template: Path) -> None:
    source = template.read_text()
    assert not re.findall(r"\sstyle=|\son\w+=|<style|\|\s*safe|autoescape|javascript:", source)
    assert not re.findall(r"<script(?![^>]*\ssrc=)", source)
    assert not re.findall(r"https?://[\w.]+/", source.replace("http://www.w3.org/", ""))


REACH = "egress: open\ngit: [{host: git.example.com, repo: owner/app, push: preloop/*}]\n"


async def test_a_flow_that_reaches_everything_says_so_on_its_page_and_on_each_run_s(world: World) -> None:
    async with world.client(await world.token(Role.ADMIN)) as http:
        saved = await http.put("/api/v1/flows/process-payment", content=FLOW + REACH)
        assert saved.status_code == 200, saved.text
        started = await http.post("/api/v1/flows/process-payment/executions", json={"payload": {}})
        run = started.json()["execution_id"]
        for path in ("/flows/process-payment", f"/executions/{run}"):
            html = (await http.get(path)).text
            assert "Reaches outside" in html and "every public host" in html
            assert "git.example.com/owner/app · pushes preloop/*" in html
            told = (await http.get(f"/api/v1{path}")).json()
            assert told["egress"] == "open"
            assert told["git"] == [{"host": "git.example.com", "repo": "owner/app", "push": "preloop/*"}]


async def test_a_flow_that_reaches_nothing_says_nothing_of_it(world: World) -> None:
    assert "Reaches outside" not in await read(world, "/flows/process-payment")
