"""REST: each page's JSON twin, its lists, its refusals, and the document that describes it."""

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import httpx
import pytest

from control.identity.principals import Role
from kit.errors import Unavailable
from tests.browser.scene import Scene, set_scene
from tests.web.world import FLOW, World


@pytest.fixture
async def http(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.program(await world.token(Role.OPERATOR, "api")) as client:
        yield client


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


async def test_executions_are_listed_newest_first_with_state_time_and_money(
    http: httpx.AsyncClient, scene: Scene
) -> None:
    items = (await http.get("/api/v1/executions")).json()["items"]
    assert [item["id"] for item in items] == sorted(scene.runs.values(), reverse=True)
    assert {item["state"] for item in items} == set(scene.runs)
    done = next(item for item in items if item["state"] == "SUCCEEDED")
    assert done["cost_usd"] == "0.0123"
    assert done["queued_ms"] == 3000  # before it started, which is when a runner claimed it
    made, began = (datetime.fromisoformat(done[name]) for name in ("created_at", "started_at"))
    assert began - made == timedelta(seconds=3)
    assert done["duration_ms"] == done["active_ms"] + done["waited_ms"]
    waits = next(item for item in items if item["state"] == "PENDING")
    assert (waits["started_at"], waits["duration_ms"]) == (None, None)
    assert waits["queued_ms"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", done["created_at"])


@pytest.mark.parametrize(
    ("query", "states"),
    [
        ("state=FAILED", {"FAILED"}),
        ("state=waiting_for_approval", {"WAITING_FOR_APPROVAL"}),
        ("state=RUNNING", {"RUNNING"}),
        ("flow=no-such-flow", set()),
        ("trigger=webhook", set()),
        ("since=2m", {"PENDING", "RUNNING", "WAITING_FOR_APPROVAL"}),
        ("since=2099-01-01", set()),
    ],
)
async def test_filters_are_in_the_address(http: httpx.AsyncClient, scene: Scene, query: str, states: set[str]) -> None:
    items = (await http.get(f"/api/v1/executions?{query}")).json()["items"]
    assert {item["state"] for item in items} == states


async def test_a_cursor_leads_through_everything_once(http: httpx.AsyncClient, scene: Scene) -> None:
    seen, cursor = [], ""
    while cursor is not None:
        page = (await http.get("/api/v1/executions", params={"limit": 3, "cursor": cursor})).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert seen == sorted(scene.runs.values(), reverse=True)


@pytest.mark.parametrize("query", ["state=DONE", "since=yesterday", "limit=-1", "limit=x", "limit=٣"])
async def test_a_filter_that_makes_no_sense_is_named(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.get(f"/api/v1/executions?{query}")
    assert (answer.status_code, answer.json()["code"]) == (422, "query_invalid")


async def test_one_execution_tells_its_whole_story(http: httpx.AsyncClient, scene: Scene) -> None:
    base = f"/api/v1/executions/{scene.runs['WAITING_FOR_APPROVAL']}"
    run = (await http.get(base)).json()
    assert (run["runtime"], run["model"], run["tools"][0]["approval_group"]) == ("scripted", "default", "finance")
    assert run["trigger_event"]["payload"] == {"amount": 1500, "recipient": "contractor@example.com"}
    call = (await http.get(base + "/tool-calls")).json()["items"][0]
    assert (call["tool"], call["status"], call["arguments"]["amount"]) == ("pay", "waiting", 1500)
    assert call["arguments"]["api_key"] == "••••••••"
    approval = (await http.get(base + "/approvals")).json()["items"][0]
    assert (approval["id"], approval["status"]) == (scene.approval, "pending")
    model = (await http.get(base + "/model-calls")).json()["items"][0]
    assert (model["cost_usd"], model["input_tokens"]) == ("0.0123", 1200)
    types = [event["type"] for event in (await http.get(base + "/events")).json()["items"]]
    assert types[0] == "execution.created"
    assert "approval.asked" in types


async def test_log_lines_are_read_on_after_a_number(http: httpx.AsyncClient, scene: Scene) -> None:
    base = f"/api/v1/executions/{scene.runs['RUNNING']}/logs"
    whole = (await http.get(base)).json()
    assert [line["number"] for line in whole["items"]] == [1, 2, 3, 4, 5]
    rest = (await http.get(base, params={"after": 3})).json()
    assert [line["number"] for line in rest["items"]] == [4, 5]
    assert (await http.get(base, params={"after": rest["next"]})).json() == {"items": [], "next": None}


async def test_cancel_sets_the_intent_and_a_final_run_stays(http: httpx.AsyncClient, scene: Scene) -> None:
    running = await http.post(f"/api/v1/executions/{scene.runs['RUNNING']}/cancel")
    assert (running.status_code, running.json()["stop_intent"]) == (202, "cancelled")
    final = await http.post(f"/api/v1/executions/{scene.runs['SUCCEEDED']}/cancel")
    assert (final.status_code, final.json()["code"]) == (409, "execution_final")


async def test_a_test_run_with_the_same_key_is_one_execution(http: httpx.AsyncClient) -> None:
    async def run(key: str) -> httpx.Response:
        body = {"payload": {"amount": 5, "recipient": "a@b.c"}}
        return await http.post("/api/v1/flows/process-payment/executions", json=body, headers={"idempotency-key": key})

    first, again, other = await run("a"), await run("a"), await run("b")
    assert first.status_code == 202
    assert first.json()["execution_id"] == again.json()["execution_id"] != other.json()["execution_id"]
    assert again.json()["repeated"] is True


async def test_a_rerun_with_the_same_key_is_one_execution(http: httpx.AsyncClient, scene: Scene) -> None:
    async def rerun(of: str, key: str) -> httpx.Response:
        return await http.post(f"/api/v1/executions/{scene.runs[of]}/rerun", headers={"idempotency-key": key})

    first, again, other, elsewhere = [
        await rerun(*given) for given in (("FAILED", "a"), ("FAILED", "a"), ("FAILED", "b"), ("SUCCEEDED", "a"))
    ]
    assert (first.status_code, again.json()) == (202, first.json() | {"repeated": True})
    assert len({answer.json()["execution_id"] for answer in (first, other, elsewhere)}) == 3


async def test_flows_are_applied_as_files(http: httpx.AsyncClient) -> None:
    source = FLOW.replace("Pay a contractor's invoice", "Pay an invoice")
    applied = await http.put("/api/v1/flows/process-payment", content=source, headers={"if-match": '"1"'})
    assert (applied.status_code, applied.json()["version"], applied.json()["changed"]) == (200, 2, True)
    assert (await http.get("/api/v1/flows/process-payment")).json()["description"] == "Pay an invoice"


@pytest.mark.parametrize(
    ("name", "source", "code", "says"),
    [
        ("process-payment", FLOW.replace("limits:", "limit:"), "flow_invalid", "line 15, limit"),
        ("other", FLOW, "flow_invalid", "process-payment"),
        ("process-payment", FLOW.replace("server: payments", "server: bank"), "flow_invalid", "bank"),
        ("process-payment", FLOW + "egress: [10.0.0.1]\n", "flow_invalid", "egress"),
        ("process-payment", "[", "flow_invalid", "YAML"),
    ],
)
async def test_a_bad_flow_file_is_named_and_not_stored(
    http: httpx.AsyncClient, name: str, source: str, code: str, says: str
) -> None:
    answer = await http.put(f"/api/v1/flows/{name}", content=source)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert says in answer.json()["detail"]
    assert (await http.get("/api/v1/flows/process-payment")).json()["version"] == 1


async def test_a_signed_in_approver_decides(world: World, scene: Scene) -> None:
    path = f"/api/v1/approvals/{scene.approval}"
    async with world.program(await world.token(Role.ADMIN, "api")) as http:
        digest = (await http.get(path)).json()["digest"]
        refused = await http.post(path + "/decide", json={"verdict": "approved", "digest": digest})
        assert (refused.status_code, refused.json()["code"]) == (403, "not_an_approver")
    async with world.program(await world.token(Role.APPROVER, "api")) as http:
        changed = await http.post(path + "/decide", json={"verdict": "approved", "digest": "0" * 64})
        assert (changed.status_code, changed.json()["code"]) == (409, "approval_changed")
        done = await http.post(path + "/decide", json={"verdict": "approved", "digest": digest, "reason": "fine"})
    assert (done.json()["status"], done.json()["decided_by"], done.json()["reason"]) == ("approved", "alice", "fine")


@pytest.mark.parametrize("key", ["changed", "Arguments", "note"])
async def test_a_decision_with_a_key_nobody_knows_decides_nothing_and_names_it(
    world: World, scene: Scene, key: str
) -> None:
    path = f"/api/v1/approvals/{scene.approval}"
    async with world.program(await world.token(Role.APPROVER, "api")) as http:
        digest = (await http.get(path)).json()["digest"]
        body = {"verdict": "approved", "digest": digest, "reason": 1, key: {"amount": 1}}
        answer = await http.post(path + "/decide", json=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "body_unknown")
        assert answer.json()["detail"] == f"The body knows no '{key}'."
        assert "arguments" in answer.json()["hint"]
        assert (await http.get(path)).json()["status"] == "pending"


async def test_no_body_of_the_interface_takes_a_key_it_does_not_know(http: httpx.AsyncClient) -> None:
    document = (await http.get("/api/openapi.json")).json()
    taken = [
        content["schema"]["$ref"].rpartition("/")[2]
        for item in document["paths"].values()
        for operation in item.values()
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
        if kind == "application/json"
    ]
    assert {"Verdict", "NewGrant", "NewToken", "NewUser", "TestRun", "Acceptance", "Reprice"} <= set(taken)
    loose = [name for name in taken if document["components"]["schemas"][name].get("additionalProperties") is not False]
    assert loose == []


@pytest.mark.parametrize("path", ["/api/v1/executions/exe_no", "/api/v1/approvals/apr_no", "/api/v1/flows/no"])
async def test_what_is_not_there_is_a_problem(http: httpx.AsyncClient, path: str) -> None:
    answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/api/v1/nothing", 404), ("POST", "/api/v1/agent/token", 404), ("DELETE", "/api/v1/executions", 405)],
)
async def test_every_other_address_is_a_problem_too(
    http: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    answer = await http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert answer.json()["code"]


async def test_the_dashboard_and_the_spend_count_what_is_there(http: httpx.AsyncClient, scene: Scene) -> None:
    board = (await http.get("/api/v1/dashboard")).json()
    assert (board["active_sessions"], board["tool_calls_24h"], board["spend_today_usd"]) == (2, 3, "0.0738")
    assert board["gateway_success_24h"] == 1.0
    assert [asked["id"] for asked in board["waiting_approvals"]] == [scene.approval]
    spend = (await http.get("/api/v1/spend?by=flow")).json()
    assert [(line["name"], line["cost_usd"]) for line in spend["items"]] == [("process-payment", "0.0738")]


async def test_unpriced_calls_are_never_zero(world: World, http: httpx.AsyncClient) -> None:
    run = await world.house.start()
    await world.spent(run, cost_nano=None, model="mystery")
    item = (await http.get(f"/api/v1/executions/{run}")).json()
    assert (item["cost_usd"], item["unpriced_calls"]) == (None, 1)
    line = (await http.get("/api/v1/spend?by=model")).json()["items"][0]
    assert (line["name"], line["cost_usd"], line["unpriced_calls"]) == ("mystery", None, 1)


async def test_a_nul_or_half_a_character_is_refused_and_not_an_error_of_ours(http: httpx.AsyncClient) -> None:
    started = await http.post(
        "/api/v1/flows/process-payment/executions",
        content=b'{"payload": {"a": "\\ud800"}}',
        headers={"content-type": "application/json"},
    )
    addressed = [await http.get(path) for path in ("/api/v1/executions/a%00b", "/api/v1/executions?flow=%00")]
    assert {answer.status_code for answer in [started, *addressed]} == {422}


async def test_the_document_describes_every_route_and_nothing_else(world: World, http: httpx.AsyncClient) -> None:
    document = (await http.get("/api/openapi.json")).json()
    served = {
        (route.path.replace(":path}", "}"), method)  # type: ignore[attr-defined]
        for route in world.app.routes
        if getattr(route, "path", "").startswith("/api/v1")
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    assert described == served
    assert not re.findall(r'"\$ref": "(?!#/components/schemas/)', str(document))


async def test_health_is_answered_without_a_sign_in(world: World) -> None:
    async with world.program() as http:
        assert (await http.get("/healthz")).text == "ok\n"
        assert (await http.get("/readyz")).json() == {"ready": True, "checks": {"database": "ok"}}


async def test_a_part_that_does_not_answer_makes_us_unready(world: World) -> None:
    async def silent() -> None:
        raise Unavailable("engine_unreachable", "The engine does not answer.")

    world.app.state.parts.checks["engine"] = silent
    async with world.program() as http:
        answer = await http.get("/readyz")
        assert (await http.get("/healthz")).status_code == 200
    checks = {"database": "ok", "engine": "The engine does not answer."}
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "checks": checks})


async def test_hosts_that_are_not_ours_are_421_but_for_probes(world: World) -> None:
    async with world.program() as http:
        for path in ("/", "/api/v1/executions", "/hooks/flows/x", "/a/x"):
            assert (await http.get(path, headers={"host": "evil.example"})).status_code == 421
        for path, status in (("/healthz", 200), ("/metrics", 401)):  # asked by address, of each replica
            assert (await http.get(path, headers={"host": "10.0.0.5:8080"})).status_code == status
