"""The images, built here and run as hardened as an agent is."""

import json
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

from kit.errors import Missing, Unsuitable
from runner import images, recipes
from runner.agents import adapters
from runner.agents.script import AgentPlan, Brief, assemble
from runner.docker import DockerEngine
from runner.engine import Exit
from runner.rootfs import Rootfs
from tests.ports import free_port
from tests.runner.containers import docker
from tests.runner.doors import TOKEN, TokenDoor, token_door
from tests.runner.programs import plane

BRIEF = Brief(
    execution_id="exe_1",
    model="default",
    prompt="Pay a 1 USD.",
    payload_json="{}",
    mcp_url="http://preloop:1/mcp",
    gateway_url="http://preloop:1",
    control_url="",
)

engine_needed = [pytest.mark.docker, pytest.mark.node, pytest.mark.slow]


async def made(name: str) -> str:
    said: list[str] = []
    with anyio.fail_after(600):
        await images.build(name, report=said.append)
    return images.tag(name)


@pytest.fixture
async def engine() -> AsyncIterator[DockerEngine]:
    async with DockerEngine() as engine:
        yield engine


@pytest.fixture
def door(engine: DockerEngine) -> Iterator[TokenDoor]:
    with token_door(engine.outer.gateway) as door:
        yield door


@asynccontextmanager
async def led(instance: str, *ports: int) -> AsyncIterator[DockerEngine]:
    """An engine whose jobs reach these ports of ours."""
    await images.build("relay", report=lambda _: None)
    async with DockerEngine() as engine:
        await engine.lead(instance, ports)
        yield engine


async def run(
    engine: DockerEngine, door: TokenDoor, plan: AgentPlan, *, stop_at: str = "", **brief: Any
) -> tuple[Exit, list[str]]:
    """One agent through its whole life, which we end at the line `stop_at`."""
    asked = replace(BRIEF, control_url=door.url.replace(engine.outer.gateway, "preloop"), **brief)
    instance = f"test-{secrets.token_hex(4)}"
    ports = (urlsplit(url).port or 80 for url in (asked.control_url, asked.mcp_url, asked.gateway_url))
    job = assemble(plan, asked, name=f"preloop-{instance}", instance=instance, bootstrap_token="once")
    async with led(instance, *ports) as engine:
        try:
            with anyio.fail_after(120):
                await engine.prepare(job)
                handle = await engine.start(job)
                told = []
                async for line in engine.logs(handle, after=""):
                    told.append(line.text)
                    if line.text == stop_at:
                        await engine.stop(handle, grace_s=10)
                return await engine.wait(handle), told
        finally:
            await engine.remove(job.name)


def doors(port: int) -> dict[str, Any]:
    return {"mcp_url": f"http://preloop:{port}/mcp", "gateway_url": f"http://preloop:{port}"}


def inner(told: list[str]) -> list[str]:
    """What stands between the markers."""
    return told[told.index("PRELOOP_AGENT_EXEC_START") + 1 : -1]


class TestBase:
    pytestmark = engine_needed

    async def test_an_agent_lives_its_whole_life_in_it(self, engine: DockerEngine, door: TokenDoor) -> None:
        script = """
id -un; node -p '1+1'; bash -c 'echo $BASH' ; git --version | cut -c-11
[ -s $SSL_CERT_FILE ] && echo certificates
echo $PRELOOP_API_TOKEN $PRELOOP_PROMPT_FILE
echo PRELOOP_AGENT_EXEC_END 0
exit 7"""
        plan = AgentPlan(image=await made("base"), argv=("sh", "-c", script))
        end, told = await run(engine, door, plan, init=("echo from init; echo made > file",))
        assert end == Exit(code=7)
        assert told[:2] == ["from init", "PRELOOP_AGENT_EXEC_START"]
        assert inner(told) == [
            *("agent", "2", "/bin/bash", "git version", "certificates"),
            f"{TOKEN} /workspace/.preloop/prompt.txt",
            " PRELOOP_AGENT_EXEC_END 0",
        ]
        assert told[-1] == "PRELOOP_AGENT_EXEC_END 7"
        assert door.bearers == ["Bearer once"]

    async def test_a_second_start_of_the_same_run_ends_before_the_agent(
        self, engine: DockerEngine, door: TokenDoor
    ) -> None:
        door.statuses = [409]
        end, told = await run(engine, door, AgentPlan(image=await made("base"), argv=("echo", "never")))
        assert end == Exit(code=86)
        assert "never" not in told

    async def test_term_reaches_the_agent_through_the_init(self, engine: DockerEngine, door: TokenDoor) -> None:
        script = "trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done"
        plan = AgentPlan(image=await made("base"), argv=("sh", "-c", script))
        end, told = await run(engine, door, plan, stop_at="ready")
        assert end == Exit(code=5)
        assert told[-2:] == ["bye", "PRELOOP_AGENT_EXEC_END 5"]

    async def test_the_probe_reaches_a_plane_that_listens(self, door: TokenDoor) -> None:
        port = urlsplit(door.url).port or 0
        async with led(f"test-{secrets.token_hex(4)}", port) as engine:
            await engine.probe(await made("base"), f"http://preloop:{port}")
            assert await docker("ps", "-aq", "--filter", "name=preloop-probe") == ""

    async def test_the_probe_says_what_a_firewall_must_allow(self) -> None:
        async with led(f"test-{secrets.token_hex(4)}", 9) as engine:
            with pytest.raises(Unsuitable) as refused:
                await engine.probe(await made("base"), "http://preloop:9")
        assert refused.value.code == "container_network_unreachable"
        assert "10.231.255.0/24" in refused.value.hint
        assert "port 9" in refused.value.hint

    async def test_it_is_not_made_again_from_the_same_parts(self) -> None:
        await made("base")
        said: list[str] = []
        await images.build("base", report=said.append)
        assert said[-1] == "base: up to date"
        assert "preloop/base" in [image.name for image in await images.images_list()]


class TestScripted:
    pytestmark = engine_needed

    async def test_its_libraries_import_where_nothing_can_be_written(
        self, engine: DockerEngine, door: TokenDoor
    ) -> None:
        script = "import mcp, openai, os, ssl, sqlite3, sys; print(os.getuid(), sys.prefix)"
        plan = AgentPlan(image=await made("scripted"), argv=("python3", "-c", script))
        end, told = await run(engine, door, plan)
        assert (end, inner(told)) == (Exit(code=0), ["1000 /opt/python"])

    async def test_the_agent_does_what_its_model_wants(
        self, engine: DockerEngine, door: TokenDoor, tmp_path: Path
    ) -> None:
        await made("scripted")
        turns = [{"call": [["pay", {"recipient": "a", "amount": 1}]]}, {"say": "Done."}]
        (tmp_path / "turns.json").write_text(json.dumps(turns))
        (tmp_path / "approved").touch()
        port = free_port(engine.outer.gateway)
        async with plane(engine.outer.gateway, port, tmp_path):
            end, told = await run(engine, door, adapters.plan("scripted", "docker", BRIEF), **doors(port))
        assert end == Exit(code=0), told
        assert 'pay answered: {"transaction_id": "tx_a"}' in told


VERSIONS = {"codex": "codex-cli 0.169.0", "gemini": "0.61.0", "opencode": "1.18.33", "claude": "2.1.330 (Claude Code)"}


@pytest.mark.codex
class TestClis:
    pytestmark = engine_needed

    @pytest.mark.parametrize("name", VERSIONS)
    async def test_it_runs_hardened_and_says_what_is_in_it(
        self, engine: DockerEngine, door: TokenDoor, name: str
    ) -> None:
        script = f"{name} --version; cat /usr/share/preloop/sbom/{name}.cdx.json"
        plan = AgentPlan(image=await made(name), argv=("sh", "-c", script))
        end, told = await run(engine, door, plan)
        version, *listed = inner(told)
        assert (end, version) == (Exit(code=0), VERSIONS[name])
        components = json.loads("\n".join(listed))["components"]
        assert any(version.split()[-1 if name == "codex" else 0] in part["version"] for part in components)


@pytest.mark.codex
class TestCodex:
    pytestmark = engine_needed

    async def test_it_thinks_through_the_gateway_and_calls_a_tool_of_ours(
        self, engine: DockerEngine, door: TokenDoor, tmp_path: Path
    ) -> None:
        await made("codex")
        (tmp_path / "approved").touch()
        port = free_port(engine.outer.gateway)
        async with plane(engine.outer.gateway, port, tmp_path):
            plan = adapters.plan("codex", "docker", replace(BRIEF, **doors(port)))
            end, told = await run(engine, door, plan, **doors(port))
        assert end == Exit(code=0), told
        events = [json.loads(line) for line in inner(told)]
        assert events[-1]["type"] == "turn.completed"
        assert not [event for event in events if "error" in (event["type"], event.get("item", {}).get("type"))]
        first, payment, last = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
        assert first["model"] == "preloop-default"
        assert "mcp__preloop" in first["tools"]
        assert "Pay a 1 USD." in first["input"]
        assert payment == {"tool": "pay", "recipient": "a", "amount": 1.0}
        assert "tx_a" in json.dumps(last["results"])


async def test_an_unknown_image_names_the_known_ones() -> None:
    with pytest.raises(Missing) as refused:
        await images.build("nothing")
    assert "scripted" in refused.value.hint


def test_the_closure_holds_what_the_agent_imports_and_not_the_whole_venv() -> None:
    found = recipes.closure("mcp", "openai")
    assert {"mcp", "mcp-types", "httpx2", "openai", "httpx", "pydantic", "pydantic-core", "cryptography"} <= found
    assert not {"litellm", "sqlalchemy", "pytest", "aiodocker"} & found


def test_a_missing_part_is_named_with_the_command_that_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unsuitable) as refused:
        recipes.base(tmp_path)
    assert (refused.value.code, refused.value.hint) == ("image_parts_missing", "apt install busybox-static")


def test_the_same_parts_give_the_same_digest_and_any_change_another(tmp_path: Path) -> None:
    def root(content: str) -> Rootfs:
        made = Rootfs()
        (tmp_path / "file").write_text(content)
        made.file(tmp_path / "file", "/a/b")
        made.link("/c", "/a/b")
        return made

    assert root("x").digest() == root("x").digest()
    assert root("x").digest() != root("y").digest()
