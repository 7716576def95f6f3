"""One trace from trigger to tool and model call, in OpenTelemetry's words, received by a collector."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from kit import webhooks
from kit.clock import Clock
from preloop.demo import decide
from tests.fakes.collector import Collector, Got, collector
from tests.journeys.plane import PAYLOAD, Plane, config, payments, plane
from tests.ports import free_port

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TOKEN = "collector-token-nobody-sees"
FLOW = "process-payment"
WHOLE = (
    "trigger webhook",
    "queued",
    "set up",
    f"invoke_agent {FLOW}",
    "chat payment",
    "execute_tool pay",
    "tools/call pay",
    "approval wait",
    f"execution {FLOW}",
)
PARENTS = {
    "trigger webhook": f"execution {FLOW}",
    "queued": f"execution {FLOW}",
    "set up": f"execution {FLOW}",
    f"invoke_agent {FLOW}": f"execution {FLOW}",
    "chat payment": f"invoke_agent {FLOW}",
    "execute_tool pay": f"invoke_agent {FLOW}",
    "tools/call pay": "execute_tool pay",
    "approval wait": "execute_tool pay",
}


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTOR_TOKEN", TOKEN)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")


def telemetry(url: str) -> str:
    return f'[telemetry]\nendpoint = "{url}"\nheaders = {{authorization = "Bearer ${{COLLECTOR_TOKEN}}"}}\n'


async def hooked(running: Plane, **headers: str) -> str:
    """A signed webhook of somebody who is traced; the execution's id."""
    async with running.http() as rest:
        secret = (await rest.post(f"/api/v1/flows/{FLOW}/webhook-secret")).json()["secret"]
    body = json.dumps(PAYLOAD).encode()
    signed = webhooks.sign(secret, message_id="msg_1", timestamp=int(Clock().now().timestamp()), body=body)
    async with httpx.AsyncClient(verify=False, trust_env=False) as sender:
        url = f"{running.found['url']}/hooks/flows/{FLOW}"
        answer = await sender.post(url, content=body, headers=signed | headers)
    assert answer.status_code == 202
    return str(answer.json()["execution_id"])


def whole(found: dict[str, Got], spans: list[Got]) -> None:
    """One trace, each span where it belongs, twice the model, once everything else."""
    assert {span.trace for span in spans} == {TRACE}
    assert found[f"execution {FLOW}"].parent == CALLER
    assert {name: found[parent].id for name, parent in PARENTS.items()} == {
        name: found[name].parent for name in PARENTS
    }
    assert sorted(span.name for span in spans) == sorted((*WHOLE, "chat payment"))
    assert len({span.id for span in spans}) == len(spans)
    assert not [span.name for span in spans if span.failed]


async def test_a_webhooks_trace_goes_on_to_its_model_and_tool_calls(tmp_path: Path) -> None:
    async with collector() as seen, plane(tmp_path, more=telemetry(seen.url)) as (running, _):
        execution_id = await hooked(running, traceparent=f"00-{TRACE}-{CALLER}-01")
        await running.waiting(execution_id)
        await decide(await running.link(), "approved")
        await running.ended(execution_id)
        found = await seen.has(*WHOLE)
        whole(found, seen.spans)

        asked = found["chat payment"]
        assert asked.kind == "CLIENT"
        told = asked.attributes
        assert told["gen_ai.operation.name"] == "chat"
        assert told["gen_ai.provider.name"] == "scripted"
        assert told["gen_ai.request.model"] == told["gen_ai.response.model"] == "payment"
        assert told["gen_ai.response.finish_reasons"] in (["tool_calls"], ["stop"])
        assert told["gen_ai.conversation.id"] == execution_id
        calls = (await running.get(f"/executions/{execution_id}/model-calls"))["items"]
        models = [span.attributes for span in seen.spans if span.name == "chat payment"]
        tokens = {(call["input_tokens"], call["output_tokens"]) for call in calls}
        assert {(m["gen_ai.usage.input_tokens"], m["gen_ai.usage.output_tokens"]) for m in models} == tokens
        assert sum(m["preloop.cost.nano_usd"] for m in models) == sum(
            round(float(call["cost_usd"]) * 1_000_000_000) for call in calls
        )
        tool = found["execute_tool pay"].attributes
        assert (tool["gen_ai.operation.name"], tool["gen_ai.tool.name"]) == ("execute_tool", "pay")
        assert found["tools/call pay"].attributes["mcp.method.name"] == "tools/call"
        wait = found["approval wait"]
        assert wait.attributes["preloop.approval.status"] == "approved"
        assert found["execute_tool pay"].start <= wait.start < wait.end <= found["tools/call pay"].start
        run = found[f"execution {FLOW}"]
        assert all(run.start <= span.start <= span.end <= run.end for span in seen.spans)
        assert run.attributes["preloop.execution.state"] == "SUCCEEDED"
        assert run.service["service.name"] == "preloop"

        assert seen.headers[-1]["authorization"] == f"Bearer {TOKEN}"
        sent = b"".join(seen.bodies)
        hidden = (PAYLOAD["recipient"], PAYLOAD["contract_id"], "Use the pay", "tx_", "Alice", "admin@localhost", TOKEN)
        assert [text for text in hidden if str(text).encode() in sent] == []
        assert TOKEN not in json.dumps(await running.get("/settings")) + "\n".join(running.lines)


@asynccontextmanager
async def four(folder: Path, seen: Collector, database: str | None) -> AsyncIterator[dict[str, Plane]]:
    """Each role in a process of its own."""
    web, model, tool = free_port(), free_port(), free_port()
    async with payments(folder) as tools, anyio.create_task_group() as tasks, AsyncExitStack() as stack:
        where = f'mcp_url = "http://127.0.0.1:{tool}"\ngateway_url = "http://127.0.0.1:{model}"'
        path = config(folder, tools.url, engine="process", runner=where, more=telemetry(seen.url))
        each: dict[str, Plane] = {}
        for role, port, inner in (("web", web, 0), ("gateway", 0, model), ("mcp", 0, tool), ("runner", 0, 0)):
            does = ("serve", role, "--port", str(port), "--container-port", str(inner))
            each[role] = Plane(folder / "data", path, tasks, database, does=does)
            await each[role].start()
            stack.push_async_callback(each[role].stop)
        await each["web"].apply()
        yield each
        await stack.aclose()
        tasks.cancel_scope.cancel()


@pytest.mark.postgres
async def test_the_same_trace_when_each_role_is_a_process(tmp_path: Path, postgres_database: str) -> None:
    async with collector() as seen, four(tmp_path, seen, postgres_database) as roles:
        execution_id = await hooked(roles["web"], traceparent=f"00-{TRACE}-{CALLER}-01")
        await roles["web"].waiting(execution_id)
        await decide(await roles["web"].link(), "approved")
        await roles["web"].ended(execution_id)
        found = await seen.has(*WHOLE)
        whole(found, seen.spans)
        made = {name: span.service["service.name"].removeprefix("preloop-") for name, span in found.items()}
        assert made == {
            "trigger webhook": "web",
            "queued": "runner",
            "set up": "runner",
            f"invoke_agent {FLOW}": "runner",
            f"execution {FLOW}": "runner",
            "chat payment": "gateway",
            "execute_tool pay": "mcp",
            "tools/call pay": "mcp",
            "approval wait": "web",
        }
        assert len({span.service["service.instance.id"] for span in seen.spans}) == 4


async def test_a_run_goes_on_in_its_trace_after_a_restart(tmp_path: Path) -> None:
    async with collector() as seen, plane(tmp_path, more=telemetry(seen.url)) as (running, _):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        link = await running.link()
        await seen.has("set up")
        await running.kill()
        await running.start()
        await decide(link, "approved")
        await running.ended(execution_id)
        found = await seen.has(f"execution {FLOW}", "approval wait", "tools/call pay")
        assert len({span.trace for span in seen.spans}) == 1
        assert {found[name].parent for name in ("set up", "queued")} == {found[f"execution {FLOW}"].id}
        assert len({span.service["service.instance.id"] for span in seen.spans}) == 2


async def test_a_trace_that_its_caller_does_not_keep_is_not_sent(tmp_path: Path) -> None:
    async with collector() as seen, plane(tmp_path, more=telemetry(seen.url)) as (running, _):
        dropped = await hooked(running, traceparent=f"00-{TRACE}-{CALLER}-00")
        await running.waiting(dropped)
        await decide(await running.link(), "approved")
        await running.ended(dropped)
        kept = await running.trigger()
        await running.waiting(kept)
        await seen.has("trigger manual", "queued")
        assert TRACE not in {span.trace for span in seen.spans}


async def test_a_collector_that_is_away_is_said_once_and_holds_nothing_up(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with plane(tmp_path, more=telemetry(nobody)) as (running, tools):
        for number in (1, 2):
            execution_id = await running.trigger()
            await running.waiting(execution_id)
            await decide(await running.link(), "approved")
            running.lines.remove(await running.said("Approval needed"))
            assert (await running.ended(execution_id))["state"] == "SUCCEEDED"
            assert len(tools.payments) == number
        await running.said("traces can't be sent")
        assert await running.stop() == 0
        assert len([line for line in running.lines if "traces can't be sent" in line]) == 1
        assert not [line for line in running.lines if "opentelemetry" in line.lower() or "Transient" in line]
