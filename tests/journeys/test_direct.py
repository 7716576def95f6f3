"""Agents past the gateway, in a real plane: a provider that hears from them alone, and a record that says so."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.masking import MASK
from tests.access.clients import certificate, run
from tests.fakes import openai_dialect
from tests.fakes.openai_dialect import Upstream
from tests.journeys.plane import Plane, plane
from tests.journeys.test_bad_input import preloop, told

KEY, OWN = "sk-direct-0123456789abcdef", "sk-gateway-0123456789"
MODEL = """
[models.{alias}]
provider = "openai"
model = "echo"
base_url = "{gateway}"
api_key = "{own}"
input_usd_per_mtok = "1.00"
output_usd_per_mtok = "1.00"

[models.{alias}.direct]
wire = "openai"
model = "{model}"
base_url = "{provider}"
key_env = "AGENTS_KEY"
flows = {flows}
"""
EGRESS = """
[egress]
private_hosts = ["localhost"]
"""


def settings(*, gateway: str, provider: str, own: str, model: str) -> str:
    """Two aliases, both with a key for agents: one that the gateway can serve, and one that it can't."""
    same = {"provider": provider, "own": own, "model": model}
    alive = MODEL.format(alias="alive", gateway=gateway, flows=["past", "prefers"], **same)
    return (
        alive + MODEL.format(alias="dead", gateway="http://127.0.0.1:1/v1", flows=["falls", "bound"], **same) + EGRESS
    )


AGENT = """
import base64, http.client, json, os, ssl, urllib.parse as parse
url, key = parse.urlsplit(os.environ["OPENAI_BASE_URL"]), os.environ["OPENAI_API_KEY"]
if url.scheme == "https":
    door = parse.urlsplit(os.environ["HTTPS_PROXY"])
    trust = ssl.create_default_context(cadata=CERTIFICATE)
    http = http.client.HTTPSConnection(door.hostname, door.port, context=trust, timeout=60)
    who = base64.b64encode(f"{door.username}:{door.password}".encode()).decode()
    http.set_tunnel(url.hostname, url.port or 443, {"Proxy-Authorization": "Basic " + who})
else:
    http = http.client.HTTPConnection(url.hostname, url.port, timeout=60)
print("my key is", key, base64.b64encode(b"x" + key.encode()).decode(), flush=True)
asked = {"model": os.environ["PRELOOP_MODEL"], "stream": True}
asked["messages"] = [{"role": "user", "content": "are you there"}]
http.request("POST", url.path + "/chat/completions", json.dumps(asked), {"Authorization": "Bearer " + key})
answer = http.getresponse()
print("it answers", answer.status, "data:" in answer.read().decode())
raise SystemExit(0 if answer.status == 200 else 1)
"""


@dataclass(frozen=True, kw_only=True)
class Told:
    """All that is known of one run that ended."""

    row: dict[str, Any]
    events: list[dict[str, Any]]
    log: str
    calls: list[dict[str, Any]]

    def of(self, type_: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"] == type_]


@dataclass(kw_only=True)
class Scene:
    running: Plane
    folder: Path
    provider: Upstream
    behind: Upstream
    """The provider, and the one behind the gateway."""
    agent: str

    async def save(self, name: str, alias: str, gateway: str, more: str = "", image: str = "none") -> None:
        command = json.dumps(["python3", "-c", self.agent])
        agent = f"{{runtime: command, image: {image}, command: {command}, model: {alias}, gateway: {gateway}}}"
        await self.running.apply(f"version: 1\nname: {name}\nagent: {agent}\nprompt: Ask.\n{more}")

    async def told(self, execution_id: str) -> Told:
        row, at = await self.running.ended(execution_id), f"/executions/{execution_id}"
        parts = {part: (await self.running.get(f"{at}/{part}"))["items"] for part in ("events", "model-calls", "logs")}
        log = "\n".join(line["text"] for line in parts["logs"])
        return Told(row=row, events=parts["events"], log=log, calls=parts["model-calls"])

    async def run(self, name: str) -> Told:
        return await self.told(await self.running.trigger(name, {}))


@asynccontextmanager
async def scene(folder: Path, *, engine: str = "process", model: str = "echo") -> AsyncIterator[Scene]:
    pem = certificate(folder, "localhost")
    trusted = pem.read_text().split("-----BEGIN PRIVATE")[0]
    async with AsyncExitStack() as stack:
        provider = await stack.enter_async_context(openai_dialect.serve(pem))
        behind = await stack.enter_async_context(openai_dialect.serve())
        more = settings(gateway=behind.url, provider=provider.url, own=OWN, model=model)
        running, _ = await stack.enter_async_context(plane(folder, engine=engine, more=more))
        agent = AGENT.replace("CERTIFICATE", repr(trusted))
        yield Scene(running=running, folder=folder, provider=provider, behind=behind, agent=agent)


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTS_KEY", KEY)


def went_past(told: Told, provider: Upstream) -> None:
    """It reached the provider with the provider's key, and the record says that nobody counted it."""
    assert told.row["state"] == "SUCCEEDED", told.log
    assert provider.headers[-1]["authorization"] == f"Bearer {KEY}"
    assert (told.row["metered"], told.row["cost_usd"], told.calls) == (False, None, [])
    [said] = told.of("model.direct")
    assert "Runs past the gateway" in said["data"]["message"] and "not metered" in said["data"]["message"]
    assert len(told.of("egress.opened")) == 1
    assert told.of("egress.opened")[0]["data"]["host"] == "localhost"
    assert f"my key is {MASK} " in told.log
    everything = json.dumps([told.row, told.events, told.log])
    coded = base64.b64encode(b"x" + KEY.encode()).decode()
    assert KEY not in everything and coded not in everything and OWN not in everything


async def test_who_goes_past_the_gateway_is_heard_by_the_provider_and_shown_as_not_metered(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        await given.save("past", "alive", "false")
        await given.save("falls", "dead", "prefer")
        await given.save("prefers", "alive", "prefer")
        await given.save("bound", "dead", "prefer", 'limits: {budget_usd: "1.00"}\n')

        past = await given.run("past")
        went_past(past, given.provider)
        went_past(await given.run("falls"), given.provider)
        assert len(given.provider.requests) == 2 and given.behind.requests == []

        stays = await given.run("prefers")
        assert stays.row["state"] == "SUCCEEDED", (stays.row["message"], stays.log)
        assert stays.row["metered"] is True and stays.row["cost_usd"] is not None
        assert given.behind.headers[-1]["authorization"] == f"Bearer {OWN}" and not stays.of("model.direct")
        bound = await given.run("bound")
        assert (bound.row["state"], bound.row["metered"]) == ("FAILED", True)
        assert not bound.of("model.direct") and len(given.provider.requests) == 2

        await shown(given, past.row["id"])
    assert KEY not in "\n".join(given.running.lines)


async def shown(given: Scene, execution_id: str) -> None:
    """Pages, REST and the command line."""
    spend = await given.running.get("/spend?by=flow")
    assert spend["unmetered_executions"] == 2
    assert sorted(line["name"] for line in spend["items"]) == ["bound", "prefers"]
    assert (await given.running.get("/spend?by=flow&flow=past"))["unmetered_executions"] == 1
    assert (await given.running.get("/spend?until=2026-01-02&since=2026-01-01"))["unmetered_executions"] == 0
    assert (await given.running.get("/dashboard"))["unmetered_executions_today"] == 2
    async with given.running.http() as http:
        for path, words in (
            (f"/executions/{execution_id}", "not metered: its model calls go past the gateway"),
            ("/executions", "not metered"),
            ("/spend", "executions were not metered"),
            ("/", "2 executions not metered"),
            ("/flows/past", "its model, past the gateway"),
        ):
            assert words in re.sub(r"<[^>]*>", " ", (await http.get(path)).text).replace("  ", " "), path
    told_spend = await asyncio.to_thread(preloop, "spend", data=given.running.folder)
    assert "2 executions were not metered" in told_spend.stderr
    followed = await asyncio.to_thread(
        preloop, "run", "past", "--payload", "-", "--follow", data=given.running.folder, given="{}"
    )
    assert followed.returncode == 0 and "spend not metered" in followed.stderr


@pytest.mark.bwrap
async def test_an_agent_in_a_sandbox_without_a_network_reaches_its_provider_by_the_door(tmp_path: Path) -> None:
    async with scene(tmp_path, engine="bwrap") as given:
        await given.save("past", "alive", "false")
        past = await given.run("past")
        assert past.row["engine"].partition(":")[0] == "bwrap"
        went_past(past, given.provider)


async def test_a_flow_is_refused_a_key_that_is_not_marked_for_it(tmp_path: Path) -> None:
    async with scene(tmp_path) as given:
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await given.save("stranger", "alive", "false")
        problem = caught.value.response.json()
        assert problem["code"] == "flow_invalid" and "no key of preloop.toml is marked" in problem["detail"]
        assert "[models.alive.direct]" in problem["hint"]
        with pytest.raises(httpx.HTTPStatusError) as caught:
            await given.save("past", "alive", "false", 'limits: {budget_usd: "1.00"}\n')
        assert "nobody keeps limits.budget_usd" in caught.value.response.json()["detail"]


def test_a_plane_does_not_start_with_the_gateway_s_own_key_for_agents(tmp_path: Path) -> None:
    config = tmp_path / "preloop.toml"
    config.write_text(settings(gateway="http://127.0.0.1:1/v1", provider="https://localhost/v1", own=KEY, model="x"))
    done = preloop("up", "--config", str(config), data=tmp_path / "data")
    assert told(done, 2, "models.alive.direct has a key that the gateway uses itself")
    assert KEY not in done.stderr and not (tmp_path / "data").exists()


@pytest.mark.docker
@pytest.mark.usefixtures("agent_images")
async def test_no_key_is_in_what_docker_tells_of_a_container_nor_in_its_work_folder(tmp_path: Path) -> None:
    async with scene(tmp_path, engine="docker", model="silent") as given:
        look = "init: ['test ! -e /workspace/.preloop/direct']\n"
        await given.save("past", "alive", "false", look, image="preloop/scripted")
        execution_id = await given.running.trigger("past", {})
        await asyncio.wait_for(given.provider.spoke.wait(), 90)
        name = (await run("docker", "ps", "--format", "{{.Names}}"))[1]
        [container] = [one for one in name.splitlines() if execution_id.replace("_", "-") in one]
        _, inspected, _ = await run("docker", "inspect", container)
        assert "PRELOOP_BOOTSTRAP_TOKEN" in inspected and KEY not in inspected
        find = "find /workspace -type f -exec grep -l 'sk-d[i]rect' {} +; cat /workspace/.preloop/keys"
        code, seen, _ = await run("docker", "exec", container, "sh", "-c", find)
        assert (code, seen.splitlines()) == (0, ["PRELOOP_API_TOKEN", "OPENAI_API_KEY direct"])
        given.provider.go.set()
        went_past(await given.told(execution_id), given.provider)
