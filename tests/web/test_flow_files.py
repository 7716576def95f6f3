"""Flow files through REST: in YAML and TOML, by version, with preconditions, and what applying one would change."""

import re
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx
import jsonschema
import pytest

from control.flows import source
from control.identity.principals import Role
from tests.web.world import FLOW, World, open_world

PATH = "/api/v1/flows/process-payment"
NEWER = FLOW.replace("Pay a contractor's invoice", "Pay an invoice")
TOML = source.dump(source.read(NEWER).body, "toml")
AS_TOML = {"content-type": "application/toml"}


@pytest.fixture(params=["sqlite", "postgres"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    url = request.getfixturevalue("postgres_tables") if request.param == "postgres" else None
    async with open_world(tmp_path, url=url) as opened:
        yield opened


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.program(await world.token(Role.OPERATOR, "api")) as client:
        yield client


async def newest(http: httpx.AsyncClient) -> Any:
    return (await http.get(PATH)).json()


async def test_a_file_comes_and_goes_as_yaml_and_as_toml(http: httpx.AsyncClient) -> None:
    applied = await http.put(PATH, content=TOML, headers=AS_TOML)
    assert (applied.status_code, applied.json()["version"]) == (200, 2)
    for media, syntax in (("application/toml", "toml"), ("application/yaml", "yaml")):
        answer = await http.get(PATH, headers={"accept": f"{media};q=0.9, */*"})
        assert answer.headers["content-type"].startswith(media)
        assert source.read(answer.text, syntax).body == source.read(NEWER).body  # type: ignore[arg-type]
        again = await http.put(PATH, content=answer.text, headers={"content-type": media})
        assert (again.json()["version"], again.json()["changed"], again.json()["diff"]) == (2, False, "")
    for accept in ("*/*", "application/json", "text/html", ""):
        assert (await http.get(PATH, headers={"accept": accept})).json()["version"] == 2


async def test_a_mistake_in_toml_is_a_problem_with_line_and_key(http: httpx.AsyncClient) -> None:
    answer = await http.put(PATH, content='version = 1\nname = "process-payment"\nnames = 1\n', headers=AS_TOML)
    assert (answer.status_code, answer.json()["code"]) == (422, "flow_invalid")
    assert answer.json()["detail"].startswith("line 3, names: an unknown key; is `name` meant?")
    deep = await http.put(PATH, content="[" * 200_000)
    assert (deep.status_code, deep.json()["code"]) == (422, "flow_invalid")


async def test_a_dry_run_says_what_would_change_and_changes_nothing(http: httpx.AsyncClient) -> None:
    answer = await http.put(PATH, content=NEWER, params={"dry_run": "true"})
    told = answer.json()
    assert (told["version"], told["changed"], told["dry_run"]) == (2, True, True)
    assert told["diff"].splitlines()[:2] == ["--- process-payment version 1", "+++ process-payment version 2"]
    assert [line for line in told["diff"].splitlines()[2:] if line[0] in "+-"] == [
        "-description: Pay a contractor's invoice",
        "+description: Pay an invoice",
    ]
    assert "etag" not in answer.headers
    assert (await newest(http))["version"] == 1
    applied = await http.put(PATH, content=NEWER)
    assert (applied.json()["diff"], applied.json()["version"]) == (told["diff"], 2)
    new = await http.put(
        "/api/v1/flows/other", content=FLOW.replace("process-payment", "other"), params={"dry_run": "true"}
    )
    assert new.json()["diff"].startswith("--- nothing\n+++ other version 1\n@@ -0,0 +1,")
    assert (await http.get("/api/v1/flows/other")).status_code == 404
    odd = await http.put(PATH, content=NEWER, params={"dry_run": "maybe"})
    assert (odd.status_code, odd.json()["code"]) == (422, "query_invalid")


async def test_warnings_come_with_the_answer(world: World, http: httpx.AsyncClient) -> None:
    await world.house.start()
    told = (await http.put(PATH, content=FLOW.replace("payload.amount", "payload.amuont"))).json()
    assert (told["version"], len(told["warnings"])) == (2, 1)
    assert "trigger_event.payload.amuont; payload has `amount`" in told["warnings"][0]


async def test_an_etag_is_the_version_and_if_match_holds_an_apply_to_it(http: httpx.AsyncClient) -> None:
    first = await http.get(PATH)
    assert first.headers["etag"] == '"1"'
    applied = await http.put(PATH, content=NEWER, headers={"if-match": first.headers["etag"]})
    assert (applied.status_code, applied.headers["etag"]) == (200, '"2"')
    stale = await http.put(PATH, content=FLOW, headers={"if-match": first.headers["etag"]})
    assert (stale.status_code, stale.json()["code"]) == (412, "flow_changed")
    assert "at version 2" in stale.json()["detail"]
    assert (await newest(http))["version"] == 2


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"7", "1"'}, 200),
        ({"if-match": '"7"'}, 412),
        ({"if-match": 'W/"1"'}, 412),
        ({"if-match": "1"}, 422),
        ({"if-match": ""}, 422),
        ({"if-none-match": "*"}, 412),
        ({"if-none-match": 'W/"1"'}, 412),
        ({"if-none-match": '"7"'}, 200),
    ],
)
@pytest.mark.parametrize("dry_run", ["true", "false"])
async def test_preconditions_hold_as_rfc_9110_has_them(
    http: httpx.AsyncClient, headers: dict[str, str], status: int, dry_run: str
) -> None:
    answer = await http.put(PATH, content=NEWER, headers=headers, params={"dry_run": dry_run})
    assert answer.status_code == status
    assert (await newest(http))["version"] == (2 if (status, dry_run) == (200, "false") else 1)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 201), ({"if-none-match": "*"}, 201), ({"if-match": "*"}, 412), ({"if-match": '"1"'}, 412)],
)
async def test_a_flow_that_is_new_is_created(http: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    answer = await http.put("/api/v1/flows/other", content=FLOW.replace("process-payment", "other"), headers=headers)
    assert answer.status_code == status
    assert (await http.get("/api/v1/flows/other")).status_code == (200 if status == 201 else 404)


@pytest.mark.parametrize("precondition", [("if-match", '"1"'), ("if-none-match", "*")])
async def test_of_many_who_apply_onto_the_same_version_one_does(
    http: httpx.AsyncClient, precondition: tuple[str, str]
) -> None:
    name = "process-payment" if precondition[0] == "if-match" else "other"
    statuses: list[int] = []

    async def put(number: int) -> None:
        text = FLOW.replace("process-payment", name).replace("Pay a", f"Pay {number} times a")
        answer = await http.put(f"/api/v1/flows/{name}", content=text, headers=dict([precondition]))
        statuses.append(answer.status_code)

    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(put, number)
    assert sorted(statuses) == [201 if name == "other" else 200, *[412] * 5]


async def test_versions_are_listed_and_read(http: httpx.AsyncClient) -> None:
    for number in (2, 3):
        await http.put(PATH, content=FLOW.replace("Pay a", f"Pay {number} times a"))
    first = (await http.get(PATH + "/versions", params={"limit": 2})).json()
    assert [(one["version"], one["url"]) for one in first["items"]] == [
        (3, "/flows/process-payment?version=3"),
        (2, "/flows/process-payment?version=2"),
    ]
    rest = (await http.get(PATH + "/versions", params={"cursor": first["next"]})).json()
    assert ([one["version"] for one in rest["items"]], rest["next"]) == ([1], None)
    old = await http.get(PATH, params={"version": 1})
    assert (old.headers["etag"], old.json()["version"], old.json()["newest_version"]) == ('"1"', 1, 3)
    assert old.json()["description"] == "Pay a contractor's invoice"
    file = await http.get(PATH, params={"version": 2}, headers={"accept": "application/yaml"})
    assert "description: Pay 2 times a contractor's invoice" in file.text


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (PATH + "?version=9", 404, "flow_version_unknown"),
        (PATH + "?version=999999999999", 404, "flow_version_unknown"),
        (PATH + "?version=-1", 422, "query_invalid"),
        (PATH + "/versions?cursor=x", 400, "cursor_invalid"),
        ("/api/v1/flows/nope/versions", 404, "flow_unknown"),
        ("/api/v1/flows/nope/render", 404, "flow_unknown"),
        (PATH + "/render?execution=exe_nope", 404, "execution_unknown"),
        (PATH + "/render?version=9", 404, "flow_version_unknown"),
        (PATH + "/render", 422, "event_missing"),
    ],
)
async def test_what_is_not_there_is_named(http: httpx.AsyncClient, path: str, status: int, code: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_page_shows_an_older_version_as_that(world: World, http: httpx.AsyncClient) -> None:
    await http.put(PATH, content=NEWER)
    async with world.client(await world.token(Role.VIEWER)) as browser:
        old = (await browser.get("/flows/process-payment?version=1")).text
        new = (await browser.get("/flows/process-payment")).text
    assert 'v1 of <a href="/flows/process-payment">2</a>' in old
    assert "Pay a contractor&#39;s invoice" in old
    assert "v2</span>" in new


async def test_a_run_s_page_says_what_its_prompt_was_not_told_and_what_there_was(world: World) -> None:
    await world.house.apply(FLOW.replace("{{trigger_event.payload.amount}}", "${{trigger_event.payload.amuont}}"))
    run = await world.house.start()
    async with world.client(await world.token(Role.VIEWER)) as browser:
        shown = (await browser.get(f"/executions/{run}")).text
    assert "<code>trigger_event.payload.amuont</code> (payload has `amount`)" in shown
    assert '<mark class="missing" title="nothing in the event for trigger_event.payload.amuont">' in shown
    prompt = re.sub(r"<svg.*?</svg>|<[^>]+>", "", shown[shown.index("Rendered prompt") :], flags=re.DOTALL)
    assert "send $undefined USD" in prompt


# rendering ------------------------------------------------------------------------------------------------------------


async def test_a_prompt_is_rendered_with_a_payload_a_past_event_or_the_newest(
    world: World, http: httpx.AsyncClient
) -> None:
    post = partial(http.post, PATH + "/render")
    given = (await post(json={"payload": {"amount": 5, "to": "{{trigger_event.type}}"}})).json()
    assert given["prompt"] == "Use the pay tool to send 5 USD to undefined.\n"
    assert given["unresolved"] == [{"name": "trigger_event.payload.recipient", "hint": "payload has `amount`, `to`"}]
    assert (given["execution_id"], given["refused"], given["version"]) == (None, False, 1)
    run = await world.house.start()
    for answer in (
        await post(json={"execution": run}),
        await post(),
        await http.get(PATH + f"/render?execution={run}"),
    ):
        assert answer.json()["prompt"] == "Use the pay tool to send 1500 USD to contractor@example.com.\n"
        assert answer.json()["unresolved"] == []
    assert (await http.get(PATH + "/render")).json()["trigger_event"]["payload"]["amount"] == 1500
    null = await post(json={"payload": None})
    assert null.json()["unresolved"][0]["hint"] == "payload is null"
    assert len((await http.get("/api/v1/executions")).json()["items"]) == 1


async def test_another_version_is_rendered_and_a_refusal_is_told(http: httpx.AsyncClient) -> None:
    await http.put(PATH, content=FLOW.replace("limits:", "on_undefined: fail\nlimits:"))
    new = (await http.post(PATH + "/render", json={"payload": {}})).json()
    old = (await http.post(PATH + "/render", json={"payload": {}, "version": 1})).json()
    assert [(one["version"], one["refused"]) for one in (new, old)] == [(2, True), (1, False)]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"payload": 1, "execution": "exe_1"}, 422, "body_invalid"),
        ({"payload": {"a": 2**60}}, 422, "json_integer_too_large"),
        ({"version": 0}, 422, "body_invalid"),
        ({"version": 2**40}, 422, "body_invalid"),
        ({"execution": "exe_nope"}, 404, "execution_unknown"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(
    http: httpx.AsyncClient, body: dict[str, Any], status: int, code: str
) -> None:
    answer = await http.post(PATH + "/render", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_the_schema_is_published_for_editors_without_a_token(world: World) -> None:
    async with world.program() as nobody:
        answer = await nobody.get("/api/flow.schema.json")
    schema = answer.json()
    assert answer.headers["content-type"] == "application/schema+json"
    assert schema["$id"] == "http://127.0.0.1:8080/api/flow.schema.json"
    jsonschema.Draft202012Validator(schema).validate(source.read(FLOW).body)


async def test_viewers_read_and_render_and_do_not_apply(world: World) -> None:
    async with world.program(await world.token(Role.VIEWER, "api")) as viewer:
        assert (await viewer.get(PATH, headers={"accept": "application/toml"})).status_code == 200
        assert (await viewer.post(PATH + "/render", json={"payload": {}})).status_code == 200
        for dry_run in ("true", "false"):
            assert (await viewer.put(PATH, content=NEWER, params={"dry_run": dry_run})).status_code == 403
