"""What an agent in a container sees of us: four things, and nothing that people have."""

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from preloop.demo import decide
from tests.journeys.plane import plane

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("agent_images")]

PAGES = [
    "/", "/executions", "/flows", "/flows/process-payment", "/approvals", "/spend", "/sessions", "/tools", "/audit",
    "/settings", "/signin", "/healthz", "/readyz", "/metrics", "/hooks/flows/process-payment", "/hooks/github",
    "/a/apl_guess", "/api/openapi.json", "/api/flow.schema.json", "/api/v1/live", "/static/app.css", "/favicon.ico",
]  # fmt: skip
ASK = """
const asked = JSON.parse(process.argv[1]);
(async () => {
  const answers = {};
  for (const [method, path] of asked)
    answers[method + " " + path] = (await fetch(process.env.PRELOOP_CONTROL_URL + path, {method, redirect:
    "manual"})).status; console.log(JSON.stringify(answers));
})();
"""


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def container_of(execution_id: str) -> str:
    name = docker("ps", "--filter", f"label=preloop.execution={execution_id}", "--format", "{{.Names}}").strip()
    assert name, docker("ps", "-a")
    return name


def token_inside(name: str) -> str:
    """The runtime token as the agent's own process has it; only its user can read it there."""
    found = docker("exec", "-u", "1000", name, "sh", "-c", "cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'")
    return next(line for line in found.splitlines() if line.startswith("PRELOOP_API_TOKEN=")).split("=", 1)[1]


async def test_the_container_sees_no_people_s_route_and_its_token_opens_none(tmp_path: Path) -> None:
    async with plane(tmp_path, engine="docker") as (running, tools):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        name = container_of(execution_id)

        described: dict[str, Any] = await _described(running.found["url"])
        rest = [
            (method.upper(), path.replace("{id}", execution_id).replace("{name}", "process-payment"))
            for path, methods in described["paths"].items()
            for method in methods
        ]
        asked = [("GET", path) for path in PAGES] + rest
        answers = json.loads(docker("exec", "-u", "1000", name, "node", "-e", ASK, json.dumps(asked)))
        assert len(answers) == len(set(asked)) > 30
        assert {path: status for path, status in answers.items() if status != 404} == {}

        inspected = docker("inspect", name)
        token = token_inside(name)
        assert token not in inspected and "PRELOOP_API_TOKEN" not in inspected
        async with httpx.AsyncClient(verify=False, base_url=running.found["url"], trust_env=False) as http:
            for path in ("/api/v1/executions", "/api/v1/approvals", "/executions", "/approvals"):
                for headers in ({"authorization": f"Bearer {token}"}, {"cookie": f"preloop_session={token}"}):
                    answer = await http.get(path, headers=headers)
                    assert answer.status_code in (303, 401), path
                    assert "process-payment" not in answer.text
            mcp = await http.post("/mcp/v1", headers={"authorization": f"Bearer {token}"}, json={})
            assert mcp.status_code == 401

        await decide(await running.link(), "approved")
        assert (await running.ended(execution_id))["state"] == "SUCCEEDED"
        assert len(tools.payments) == 1


async def test_a_second_start_of_the_same_run_gets_no_token(tmp_path: Path) -> None:
    async with plane(tmp_path, engine="docker") as (running, _):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        name = container_of(execution_id)
        spent = json.loads(docker("inspect", name))[0]["Config"]["Env"]
        bootstrap = next(line for line in spent if line.startswith("PRELOOP_BOOTSTRAP_TOKEN=")).split("=", 1)[1]
        again = (
            "fetch(process.env.PRELOOP_CONTROL_URL + '/api/v1/agent/token', {method: 'POST', headers: "
            f"{{authorization: 'Bearer {bootstrap}'}}}}).then(answer => console.log(answer.status))"
        )
        assert docker("exec", "-u", "1000", name, "node", "-e", again).strip() == "409"
        async with httpx.AsyncClient(verify=False, base_url=running.found["url"], trust_env=False) as http:
            people = await http.post("/api/v1/agent/token", headers={"authorization": f"Bearer {bootstrap}"})
            assert people.status_code == 404


async def _described(url: str) -> dict[str, Any]:
    async with httpx.AsyncClient(verify=False, base_url=url, trust_env=False) as http:
        answer = await http.get("/api/openapi.json")
        found: dict[str, Any] = answer.json()
        return found
