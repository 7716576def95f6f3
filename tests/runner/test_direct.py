"""Agents that go past the gateway: what they are given, who decides it when, and what the record says of it."""

import json
import os
import subprocess
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bench.memory_engine import MemoryEngine
from control import events
from control.flows import catalog
from control.flows.direct import Direct, Wire
from control.identity import charter as charters
from control.tables import sessions
from runner.agents import adapters
from runner.agents.script import AgentPlan, Brief, assemble
from runner.direct import Directs
from runner.engine import Job
from runner.placing import BYPASSED, job_name, place
from tests.control.house import ACCOUNT
from tests.runner.doors import TOKEN, TokenDoor
from tests.runner.station import Station, open_station

KEY = "sk-direct-0123456789"
BRIEF = Brief(
    execution_id="exe_1",
    model="real-model",
    prompt="do it\n",
    payload_json="{}",
    mcp_url="http://plane/mcp/v1",
    gateway_url="http://plane",
    control_url="http://plane",
)
VARIABLES = {
    "openai": ("OPENAI_BASE_URL", "OPENAI_API_KEY"),
    "anthropic": ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
    "gemini": ("GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"),
}
FLOW = """
version: 1
name: process-payment
agent: {{runtime: scripted, model: default, gateway: {gateway}}}
triggers: [{{type: manual}}]
prompt: Pay.
{more}
"""


def direct(wire: Wire = "openai", **changes: object) -> Direct:
    given = {"wire": wire, "model": "real-model", "key": KEY, "flows": ["process-payment"]}
    return Direct.model_validate(given | {"base_url": "https://llm.example.com:8443/x"} | changes)


def job(plan: AgentPlan, brief: Brief) -> Job:
    return assemble(plan, brief, name="job", instance="t", bootstrap_token="once")


def planned(runtime: str, wire: Wire) -> Job:
    brief = replace(BRIEF, direct=direct(wire), egress=True, image="i", command=("agent",))
    return job(adapters.plan(runtime, "docker", brief), brief)


# what an agent is given ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", VARIABLES)
def test_the_key_is_in_one_file_and_the_wire_s_address_in_the_environment(wire: Wire) -> None:
    made = planned("command", wire)
    assert [path for path, content in made.files.items() if KEY.encode() in content] == [".preloop/direct"]
    assert KEY not in f"{dict(made.env)}{made.argv}{dict(made.labels)}"
    url, key = VARIABLES[wire]
    assert {name: value for name, value in made.env.items() if name.endswith("_URL") and "PRELOOP" not in name} == {
        url: "https://llm.example.com:8443/x"
    }
    assert made.env["PRELOOP_MODEL"] == "real-model"
    assert made.files[".preloop/keys"].decode().splitlines() == ["PRELOOP_API_TOKEN", f"{key} direct"]


@pytest.mark.parametrize("exported", [False, True])
def test_the_key_reaches_the_agent_alone(shell: list[str], tmp_path: Path, door: TokenDoor, exported: bool) -> None:
    look = "env > {0}/seen-by-{1}; find {0} -type f -exec grep -l sk-d[i]rect {{}} + > {0}/found-by-{1} || true; "
    look += "cat {0}/.preloop/direct > {0}/read-by-{1} 2>/dev/null || true"
    brief = replace(BRIEF, control_url=door.url, direct=direct(), init=(look.format(tmp_path, "init"),))
    made = job(AgentPlan(image="", argv=("sh", "-c", look.format(tmp_path, "agent"))), brief)
    for path, content in made.files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    env = {"PATH": os.environ["PATH"], **made.env} | ({"direct": "an image's own", "whose": "x"} if exported else {})
    done = subprocess.run([*shell, ".preloop/entry.sh"], cwd=tmp_path, env=env, timeout=30, check=False)
    assert done.returncode == 0
    by_agent = (tmp_path / "seen-by-agent").read_text().splitlines()
    assert f"OPENAI_API_KEY={KEY}" in by_agent and f"PRELOOP_API_TOKEN={TOKEN}" in by_agent
    assert sum(KEY in line for line in by_agent) == 1
    assert KEY not in (tmp_path / "seen-by-init").read_text()
    assert (tmp_path / "found-by-init").read_text() == (tmp_path / "read-by-init").read_text() == ""
    assert (tmp_path / "found-by-agent").read_text().splitlines() == [f"{tmp_path}/seen-by-agent"]


def test_codex_asks_the_provider_with_its_key_and_still_us_for_tools() -> None:
    config = tomllib.loads(planned("codex", "openai").files[".preloop/codex/config.toml"].decode())
    provider = config["model_providers"]["preloop"]
    assert (provider["base_url"], provider["env_key"]) == ("https://llm.example.com:8443/x", "OPENAI_API_KEY")
    assert config["model"] == "real-model"
    assert "OPENAI_API_KEY" not in config["shell_environment_policy"]["include_only"]
    assert config["mcp_servers"]["preloop"]["bearer_token_env_var"] == "PRELOOP_API_TOKEN"


@pytest.mark.parametrize(
    ("wire", "package", "url"),
    [
        ("openai", "@ai-sdk/openai-compatible", "https://llm.example.com:8443/x"),
        ("anthropic", "@ai-sdk/anthropic", "https://llm.example.com:8443/x/v1"),
        ("gemini", "@ai-sdk/google", "https://llm.example.com:8443/x/v1beta"),
    ],
)
def test_opencode_speaks_the_key_s_wire(wire: Wire, package: str, url: str) -> None:
    settings = json.loads(planned("opencode", wire).files[".preloop/opencode.json"])
    provider = settings["provider"]["preloop"]
    options = {"baseURL": url, "apiKey": f"{{env:{VARIABLES[wire][1]}}}"}
    assert (provider["npm"], provider["options"]) == (package, options)
    assert settings["model"] == "preloop/real-model"
    assert settings["mcp"]["preloop"]["headers"] == {"Authorization": "Bearer {env:PRELOOP_API_TOKEN}"}


def test_claude_and_gemini_ask_for_the_provider_s_own_model() -> None:
    claude, gemini = planned("claude", "anthropic"), planned("gemini", "gemini")
    assert claude.env["ANTHROPIC_MODEL"] == "real-model"
    assert "ANTHROPIC_AUTH_TOKEN" not in claude.files[".preloop/keys"].decode()
    assert gemini.files[".preloop/argv"].decode().splitlines()[-2:] == ["-m", "real-model"]


# who decides, and what the record says -----------------------------------------------------------------------------


@asynccontextmanager
async def station(
    folder: Path, gateway: str, *, more: str = "", keys: bool = True, covered: bool = False, serves: bool = True
) -> AsyncIterator[Station]:
    async def answers(alias: str) -> bool:
        assert alias == "default"
        return serves

    given = {"default": direct()} if keys else {}
    async with open_station(folder, flow=FLOW.format(gateway=gateway, more=more)) as opened:
        directs = Directs(keys=given, covered=lambda flow, alias: covered, serves=answers)
        opened.parts = replace(opened.parts, directs=directs)
        yield opened


async def told(opened: Station, execution_id: str) -> list[dict[str, Any]]:
    found = await events.read(opened.db, ACCOUNT, execution_id)
    return [event.data for event in found if event.type == BYPASSED]


async def test_a_run_past_the_gateway_is_marked_before_its_agent_starts_and_ends_well(tmp_path: Path) -> None:
    async with station(tmp_path, "false", more="egress: [example.com]") as opened:
        opened.worker()
        execution_id = await opened.house.start()
        agent = await opened.agent(execution_id)
        row = await opened.house.row(execution_id)
        assert row.unmetered_at is not None and row.unmetered_at <= row.agent_started_at
        [said] = await told(opened, execution_id)
        assert said["message"] == "Runs past the gateway: key of [models.default.direct], spend is not metered."
        assert (said["host"], said["gateway"], said["model"]) == ("llm.example.com:8443", False, "real-model")
        [session] = await opened.db.read(sa.select(sessions).where(sessions.c.id == row.session_id))
        charter = charters.loads(session.charter)
        assert charter.models == ()
        assert charter.egress == ("example.com", "llm.example.com:8443")
        assert "egress" in agent.job.files[".preloop/doors"].decode().split()
        agent.stopped.set()
        agent.say("PRELOOP_AGENT_EXEC_END 0")
        agent.end(0)
        assert (await opened.ended(execution_id)).state == "SUCCEEDED"  # its model was never seen, and need not be


@pytest.mark.parametrize(
    ("gateway", "given", "past"),
    [
        ("true", {"serves": False}, False),
        ("prefer", {"serves": True}, False),
        ("prefer", {"serves": False}, True),
        ("prefer", {"serves": False, "covered": True}, False),
        ("prefer", {"serves": False, "more": 'limits: {budget_usd: "1.00"}'}, False),
        ("prefer", {"serves": False, "keys": False}, False),
        ("false", {"serves": True}, True),
    ],
)
async def test_who_goes_past_the_gateway(tmp_path: Path, gateway: str, given: dict[str, Any], past: bool) -> None:
    async with station(tmp_path, gateway, **given) as opened:
        opened.worker()
        execution_id = await opened.house.start()
        agent = await opened.agent(execution_id)
        row = await opened.house.row(execution_id)
        assert (row.unmetered_at is not None, bool(await told(opened, execution_id))) == (past, past)
        assert (".preloop/direct" in agent.job.files) == past
        assert (agent.job.env["OPENAI_BASE_URL"] == "https://llm.example.com:8443/x") == past
        agent.stopped.set()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"keys": False}, "no key of preloop.toml is marked for agents of 'process-payment'"),
        ({"covered": True}, "Past the gateway nobody keeps a hard limit of [[budgets]]."),
        ({"more": 'limits: {budget_usd: "1.00"}'}, "Past the gateway nobody keeps limits.budget_usd."),
    ],
)
async def test_settings_that_changed_since_the_flow_was_saved_stop_it(
    tmp_path: Path, given: dict[str, Any], says: str
) -> None:
    async with station(tmp_path, "false", **given) as opened:
        opened.worker()
        execution_id = await opened.house.start()
        row = await opened.ended(execution_id)
        assert (row.state, row.cause) == ("FAILED", "setup_failed")
        assert says in row.message
        assert row.hint and row.unmetered_at is None
        assert opened.asked(execution_id) == []


class Dead(MemoryEngine):
    """One whose worker dies before the job is there."""

    async def prepare(self, job: Job) -> None:
        raise OSError("died")


@pytest.mark.parametrize("past", [True, False])
async def test_a_start_that_is_repeated_keeps_what_was_decided(tmp_path: Path, past: bool) -> None:
    async with station(tmp_path, "prefer", serves=not past) as opened:
        execution_id, row = await opened.house.start(), await opened.held("w1")
        flow = await opened.db.write(lambda tx: catalog.version(tx, row.flow_id, row.flow_version))
        handle = job_name(opened.parts.instance, execution_id)
        with pytest.raises(OSError, match="died"):
            await place(replace(opened.parts, engine=Dead(opened.tasks)), row, flow, handle)
        other = replace(opened.parts.directs, serves=_neither)
        opened.parts = replace(opened.parts, directs=other)
        opened.drive(await opened.adopted(execution_id, "w2"), "w2")
        agent = await opened.agent(execution_id)
        assert (".preloop/direct" in agent.job.files, len(await told(opened, execution_id))) == (past, int(past))
        agent.stopped.set()


async def _neither(alias: str) -> bool:
    raise AssertionError("it was asked before")


def test_a_key_does_not_show_in_what_is_printed() -> None:
    assert KEY not in repr(replace(BRIEF, direct=direct())) + repr(Directs(keys={"default": direct()}))
