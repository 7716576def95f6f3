"""Editing a flow on its page: the difference first, then a version; what the form does not show, and what somebody else
saved meanwhile, stays."""

import html
import re
from collections.abc import AsyncIterator
from typing import Any

import anyio
import httpx
import pytest

from control.flows import source
from control.identity.principals import Role
from kit import canonical
from tests.web.world import FLOW, World
from web import flow_form

EDIT = "/flows/process-payment/edit"
RICH = (
    (
        FLOW.replace("limits: {concurrency: 3}", "limits: {concurrency: 3, timeout: 600, max_log_mb: 7}")
        .replace("timeout: 10m}", "timeout: 10m, quorum: 2, summary: 'Pay {{args.amount}}'}")
        .replace("[{type: webhook}, {type: manual}]", "[{type: schedule, cron: '0 9 * * 1', zone: Europe/Paris}]")
    )
    + """
egress: [api.example.com]
git: [{host: git.example.com, repo: owner/app, push: preloop/*}]
init: [echo ready]
resources: {memory: 4g}
result_schema: {type: object}
post_exec_sleep: 5
"""
)


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.client(await world.token(Role.OPERATOR)) as client:
        yield client


async def fields(http: httpx.AsyncClient) -> dict[str, str]:
    """The form as a browser would send it untouched."""
    answer = await http.get(EDIT)
    assert answer.status_code == 200, answer.text
    return sent(answer.text)


def sent(page: str) -> dict[str, str]:
    form = page.split('<form class="edit"')[1].split("</form>")[0]
    found = {}
    for tag in re.findall(r"<input\b[^>]*>", form):
        name, value = attribute(tag, "name"), attribute(tag, "value")
        if 'type="checkbox"' not in tag:
            found[name] = value
        elif " checked" in tag:
            found[name] = "on"
    for name, text in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', form, re.DOTALL):
        found[html.unescape(name)] = html.unescape(text.removeprefix("\n")).replace("\n", "\r\n")
    for name, options in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = [tag for tag in re.findall(r"<option[^>]*>", options) if " selected" in tag]
        found[html.unescape(name)] = attribute(chosen[0], "value") if chosen else ""
    return found


def attribute(tag: str, name: str) -> str:
    hit = re.search(rf'\b{name}="([^"]*)"', tag)
    return html.unescape(hit[1]) if hit else ""


async def body(world: World, version: int | None = None) -> dict[str, Any]:
    async with world.program(await world.token(Role.OPERATOR, "api")) as api:
        query = {"version": version} if version else {}
        answer = await api.get("/api/v1/flows/process-payment", params=query)
        return dict(answer.json()["body"])


async def saved(http: httpx.AsyncClient, typed: dict[str, str]) -> httpx.Response:
    reviewed = await http.post(EDIT, data=typed | {"do": "review"})
    assert reviewed.status_code == 200, reviewed.text
    return await http.post(EDIT, data=sent(reviewed.text) | {"do": "save"})


async def test_a_form_that_nobody_touched_changes_nothing(world: World, http: httpx.AsyncClient) -> None:
    await world.house.apply(RICH)
    page = (await http.post(EDIT, data=await fields(http) | {"do": "review"})).text
    assert "Nothing is changed." in page
    assert "Save as version" not in page


async def test_the_changes_are_reviewed_and_saved_as_a_version(world: World, http: httpx.AsyncClient) -> None:
    await world.house.apply(RICH)
    before = await body(world)
    changed = {"limits.timeout": "20m", "on_decline": "continue", "retries.attempts": "2", "retention.logs_days": "7"}
    typed = await fields(http) | changed
    page = html.unescape((await http.post(EDIT, data=typed | {"do": "review"})).text)
    assert "Save as version 3" in page
    assert "+  timeout: 20m" in page and "-  timeout: 600" in page
    assert (await body(world)) == before, "a review saves nothing"
    answer = await saved(http, typed)
    assert answer.headers["location"] == "/flows/process-payment#versions"
    after = await body(world)
    assert after["limits"] == {"concurrency": 3, "timeout": "20m", "max_log_mb": 7}
    assert (after["on_decline"], after["retries"]) == ("continue", {"attempts": 2})
    assert after["retention"] == {"logs_days": 7}
    same = before.keys() - {"limits", "on_decline", "retries"}
    assert {key: after[key] for key in same} == {key: before[key] for key in same}
    shown = html.unescape((await http.get("/flows/process-payment")).text)
    assert "What version 3 changed" in shown and "+on_decline: continue" in shown


async def test_what_is_saved_is_what_was_reviewed(http: httpx.AsyncClient) -> None:
    typed = await fields(http)
    page = (await http.post(EDIT, data=typed | {"description": "One", "do": "review"})).text
    other = await http.post(EDIT, data=sent(page) | {"description": "Another", "do": "save"})
    assert other.status_code == 200 and "+description: Another" in other.text
    assert "/flows/process-payment?version=2" not in (await http.get("/flows/process-payment")).text


async def test_tools_come_and_go_with_their_rules(world: World, http: httpx.AsyncClient) -> None:
    await world.house.apply(RICH)
    pay, contract = (canonical.dumps(["payments", tool, 0]) for tool in ("pay", "get_contract"))
    typed = await fields(http)
    assert (typed[f"{pay}.group"], typed[f"{pay}.when"]) == ("finance", "args.amount > 100")
    del typed[f"{contract}.on"]
    assert (await saved(http, typed | {f"{pay}.when": "", f"{pay}.deny": "args.amount > 9000"})).status_code == 303
    [entry] = (await body(world))["tools"]
    assert entry["deny"] == "args.amount > 9000"
    assert entry["approval"] == {"group": "finance", "timeout": "10m", "quorum": 2, "summary": "Pay {{args.amount}}"}
    typed = await fields(http) | {f"{contract}.on": "on", f"{contract}.group": "alone"}
    assert (await saved(http, typed)).status_code == 303
    assert (await body(world))["tools"][1] == {
        "server": "payments",
        "tool": "get_contract",
        "approval": {"group": "alone"},
    }


@pytest.mark.parametrize(
    ("wrong", "said", "field"),
    [
        ({"limits.timeout": "soon"}, "'soon' is not a duration", 'name="limits.timeout" value="soon"'),
        ({"agent.model": "nope"}, "the model 'nope' is not in preloop.toml", "nope</option>"),
        ({"prompt": "Pay {{trigger_event.payload"}, "can't be read", "Pay {{trigger_event.payload</textarea>"),
        ({'["payments","pay",0].when': "args.amount >"}, "pay, approval.when", 'value="args.amount >"'),
    ],
)
async def test_what_is_wrong_is_told_at_its_field_and_stays_typed(
    world: World, http: httpx.AsyncClient, wrong: dict[str, str], said: str, field: str
) -> None:
    answer = await http.post(EDIT, data=await fields(http) | wrong | {"do": "save"})
    page = html.unescape(answer.text)
    assert answer.status_code == 422
    assert said in page and field in page and 'aria-invalid="true"' in page
    assert (await body(world)) == source.read(FLOW).body


async def test_a_version_saved_meanwhile_is_not_overwritten(world: World, http: httpx.AsyncClient) -> None:
    mine = await fields(http) | {"limits.timeout": "5m"}
    reviewed = sent((await http.post(EDIT, data=mine | {"do": "review"})).text)
    await world.house.apply(FLOW.replace("Pay a", "Pay one").replace("limits: {", "on_tool_error: ignore\nlimits: {"))
    theirs = await body(world)
    answer = await http.post(EDIT, data=reviewed | {"do": "save"})
    page = html.unescape(answer.text)
    assert answer.status_code == 412 and "Version 2 was saved meanwhile" in page
    assert "+on_tool_error: ignore" in page
    assert await body(world) == theirs
    again = sent(answer.text)
    assert (again["version"], again["limits.timeout"], again["description"]) == (
        "2",
        "5m",
        "Pay one contractor's invoice",
    )
    assert (await saved(http, again)).status_code == 303
    assert await body(world) == theirs | {"limits": {"concurrency": 3, "timeout": "5m"}}


async def test_of_saves_at_the_same_moment_one_is_a_version(world: World, http: httpx.AsyncClient) -> None:
    typed = await fields(http)
    pages = [await http.post(EDIT, data=typed | {"description": f"By {n}", "do": "review"}) for n in range(5)]
    statuses = []

    async def save(form: dict[str, str]) -> None:
        statuses.append((await http.post(EDIT, data=form | {"do": "save"})).status_code)

    async with anyio.create_task_group() as tasks:
        for answer in pages:
            tasks.start_soon(save, sent(answer.text))
    assert sorted(statuses) == [303, 412, 412, 412, 412]
    newest = await http.get("/flows/process-payment")
    assert "?version=2" in newest.text and "?version=3" not in newest.text


async def test_only_those_who_may_save_flows_get_the_form(world: World) -> None:
    for role in (Role.VIEWER, Role.APPROVER):
        async with world.client(await world.token(role)) as other:
            assert (await other.get(EDIT)).status_code == 403
            assert (await other.post(EDIT, data={"version": "1", "do": "save"})).status_code == 403
            assert EDIT not in (await other.get("/flows/process-payment")).text
    async with world.client(await world.token(Role.OPERATOR)) as operator:
        assert EDIT in (await operator.get("/flows/process-payment")).text
        foreign = await operator.post(EDIT, data={"version": "1"}, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403


@pytest.mark.parametrize("version", ["", "0", "x", "99999999999999999999"])
async def test_a_form_of_no_version_is_refused(http: httpx.AsyncClient, version: str) -> None:
    assert (await http.post(EDIT, data={"version": version})).status_code in (404, 422)


def test_what_the_form_shows_goes_back_as_it_was() -> None:
    seen = {"payments": ["pay", "refund"], "files": ["read 100%/x"]}
    for text in (FLOW, RICH, FLOW.replace("tool: get_contract", "tool: pay")):
        written = source.read(text).body
        shown = flow_form.values(written, seen)
        assert flow_form.applied(written, shown, seen) == written
        assert flow_form.applied(written, flow_form.typed(shown, shown), seen) == written
