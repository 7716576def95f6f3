"""compose.scale.yaml as people start it: PostgreSQL, two of each role, a proxy for people, one for agents, a runner."""

import json
from collections.abc import AsyncIterator

import pytest

from tests.journeys.composed import KEY, Composed, composed, run
from tests.journeys.test_isolation import container_of

pytestmark = [
    pytest.mark.compose,
    pytest.mark.docker,
    pytest.mark.node,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.timeout(480),
    pytest.mark.usefixtures("agent_images"),
]
PORTS = (5432, 8080, 8081, 8082, 8090)
CONNECT = """
const net = require("net"), asked = JSON.parse(process.argv[1]), open = [];
let left = asked.length;
for (const [host, port] of asked) {
  const socket = net.connect({host, port, timeout: 2000});
  const done = () => { socket.destroy(); if (!--left) console.log(JSON.stringify(open)) };
  socket.once("connect", () => { open.push(host + ":" + port); done() }).once("error", done).once("timeout", done);
}
"""


@pytest.fixture(scope="module")
async def up(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Composed]:
    async with composed(tmp_path_factory.mktemp("composed")) as running:
        await running.apply()
        yield running


async def test_each_secret_is_where_it_is_used_and_nowhere_else(up: Composed) -> None:
    services = up.compose("config", "--services").split()
    described = {name: run("docker", "inspect", up.container(name)) for name in services}
    assert {name for name, text in described.items() if KEY in text} == {"gateway-1", "gateway-2"}
    password = up.inside("database", "cat", "/run/preloop/database/password")
    assert len(password) > 40
    assert not [name for name, text in described.items() if password in text]
    assert {name for name, text in described.items() if "docker.sock" in text} == {"runner"}
    planes = [name for name in services if name[-2:] in ("-1", "-2")] + ["runner"]
    keys = {name: up.inside(name, "find", "/data", "-name", "*.pem", "-o", "-name", "*.key").split() for name in planes}
    assert {name for name, found in keys.items() if found} == {"mcp-1", "mcp-2"}


async def test_a_run_outlives_frozen_and_killed_planes_and_its_agent_reaches_nothing_else(up: Composed) -> None:
    async with up.frozen("web-2", "mcp-2"):
        id_ = await up.trigger()
        await up.waiting(id_)
        agent = container_of(id_)
        reached = ("docker", "exec", "-u", "1000", agent, "node", "-e", CONNECT)
        names = run("docker", "ps", "--filter", f"label=com.docker.compose.project={up.project}", "-q").split()
        addresses = {
            network["IPAddress"]
            for name in names
            for network in json.loads(
                run("docker", "inspect", "--format", "{{json .NetworkSettings.Networks}}", name)
            ).values()
        }
        gateways = {"10.231.254.1", "172.17.0.1"}
        asked = [(host, port) for host in sorted(addresses | gateways) for port in PORTS]
        assert json.loads(run(*reached, json.dumps(asked))) == []
        ours = json.loads(run(*reached, json.dumps([("preloop", port) for port in PORTS])))
        assert sorted(ours) == ["preloop:8081", "preloop:8082"]
    for name in ("web-2", "mcp-2"):
        await up.seen(name, "UP")
    up.compose("kill", "web-1", "mcp-1", "gateway-1")
    (asking,) = (await up.get("/approvals"))["items"]
    yes = {"verdict": "approved", "digest": (await up.get(f"/approvals/{asking['id']}"))["digest"]}
    async with up.http() as http:
        decided = await http.post(f"/api/v1/approvals/{asking['id']}/decide", json=yes)
        assert decided.status_code == 200, decided.text
    row = await up.ended(id_)
    assert (row["state"], row["message"], len(up.payments())) == ("SUCCEEDED", "", 1)
