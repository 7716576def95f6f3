"""`preloop serve ROLE…`: processes of one plane that share a folder, and find each other by their database alone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import pytest

from preloop.demo import decide
from tests.journeys.plane import Plane, Tools, clear, config, payments
from tests.journeys.test_bad_input import preloop, told
from tests.ports import free_port


@dataclass
class Roles:
    web: Plane
    doors: Plane
    """gateway and mcp"""
    runner: Plane
    tools: Tools


HOST = {"process": "127.0.0.1", "docker": "preloop"}
"""What agents call this machine."""


@asynccontextmanager
async def roles(folder: Path, database: str | None = None, engine: str = "process") -> AsyncIterator[Roles]:
    """Three processes that start at the same moment on nothing. Only the runner is told where an engine is."""
    web, doors, inner = free_port(), free_port(), free_port()
    async with payments(folder) as tools, anyio.create_task_group() as tasks:
        at = f"http://{HOST[engine]}:{inner}"
        agents = f'mcp_url = "{at}"\ngateway_url = "{at}"'
        runs = config(folder, tools.url, engine=engine, runner=agents)
        others = folder / "others.toml"
        others.write_text(runs.read_text().replace(agents, f'{agents}\ndocker_socket = "unix://{folder}/none.sock"'))

        def process(port: int, container_port: int, *named: str) -> Plane:
            does = ("serve", *named, "--port", str(port), "--container-port", str(container_port))
            path = runs if "runner" in named else others
            return Plane(folder / "data", path, tasks, database, does=does)

        each = process(web, 0, "web"), process(doors, inner, "gateway", "mcp"), process(0, 0, "runner")
        try:
            async with anyio.create_task_group() as starting:
                for one in each:
                    starting.start_soon(one.start)
            await each[0].apply()
            yield Roles(*each, tools)
        finally:
            for one in each:
                if one.process and one.process.returncode is None:
                    await one.stop()
            tasks.cancel_scope.cancel()
            if engine == "docker":
                clear((folder / "data" / "instance").read_text())


@pytest.fixture(scope="module")
async def three(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Roles]:
    async with roles(tmp_path_factory.mktemp("roles")) as started:
        yield started


async def paid(three: Roles) -> tuple[str, str, int]:
    """State and message of a run whose event, tools and agent are in three processes, and how often it paid."""
    execution_id = await three.web.trigger()
    await three.web.waiting(execution_id)
    await decide(await three.web.link(), "approved")
    row = await three.web.ended(execution_id)
    return row["state"], row["message"], len(three.tools.payments)


async def test_a_run_whose_event_tools_and_agent_are_in_three_processes(three: Roles) -> None:
    assert await paid(three) == ("SUCCEEDED", "", 1)


@pytest.mark.postgres
async def test_the_same_on_postgresql(tmp_path: Path, postgres_database: str) -> None:
    async with roles(tmp_path, postgres_database) as started:
        assert await paid(started) == ("SUCCEEDED", "", 1)


@pytest.mark.docker
@pytest.mark.usefixtures("agent_images")
async def test_the_same_in_a_container_whose_engine_only_the_runner_opens(tmp_path: Path) -> None:
    async with roles(tmp_path, engine="docker") as started:
        assert await paid(started) == ("SUCCEEDED", "", 1)


async def test_what_a_role_does_not_serve_is_not_there(three: Roles) -> None:
    async def there(process: Plane, path: str, method: str = "GET") -> int:
        url = (await process.said("Preloop listens on")).split()[-1]
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=30) as http:
            return (await http.request(method, url + path)).status_code

    paths = ("/signin", "/api/openapi.json", "/mcp/v1", "/openai/v1/models", "/healthz")
    found = {
        name: [await there(process, path) for path in paths]
        for name, process in (("web", three.web), ("doors", three.doors), ("runner", three.runner))
    }
    assert found == {
        "web": [200, 200, 404, 404, 200],
        "doors": [404, 404, 401, 401, 200],
        "runner": [404, 404, 404, 404, 200],
    }


async def test_the_secret_of_a_container_is_exchanged_where_mcp_is(three: Roles) -> None:
    inner = dict(zip(three.doors.does, three.doors.does[1:], strict=False))["--container-port"]
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=30) as http:
        answer = await http.post(f"http://127.0.0.1:{inner}/api/v1/agent/token")
    assert (answer.status_code, answer.json()["code"]) == (401, "bootstrap_unknown")


async def test_what_an_agent_left_is_taken_where_mcp_is(three: Roles) -> None:
    inner = dict(zip(three.doors.does, three.doors.does[1:], strict=False))["--container-port"]
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=30) as http:
        answer = await http.put(f"http://127.0.0.1:{inner}/api/v1/agent/left/result.json", content=b"x")
    assert (answer.status_code, answer.json()["code"]) == (401, "token_missing")


async def test_a_second_worker_in_the_folder_is_exit_5(three: Roles) -> None:
    for command in ("up", "serve runner"):
        done = preloop(
            *(*command.split(), "--config", str(three.web.config)),
            data=three.web.folder,
            PRELOOP_SERVER__PORT="0",
            PRELOOP_SERVER__CONTAINER_PORT="0",
        )
        assert told(done, 5, "Another control plane runs agents", "PRELOOP_DATA")


async def test_a_port_that_is_taken_is_exit_5(three: Roles) -> None:
    again = ["serve", "web", "--config", str(three.web.config), "--port", three.web.does[3]]
    assert told(preloop(*again, data=three.web.folder), 5, "is in use")


def test_a_runner_that_was_not_told_where_its_agents_tools_are_does_not_start(tmp_path: Path) -> None:
    done = preloop("serve", "runner", "gateway", data=tmp_path / "data", PRELOOP_SERVER__PORT="0")
    assert told(done, 2, "runner.mcp_url is not set")
    assert not (tmp_path / "data").exists()


def test_a_role_that_is_none_names_those_there_are(tmp_path: Path) -> None:
    assert told(preloop("serve", "mail", data=tmp_path / "data"), 2, "'web', 'gateway', 'mcp', 'runner'")
