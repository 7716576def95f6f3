"""A plane whose agents run on a real swarm of three engines: ends, places, a node that is cut off and heals."""

import json
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import monotonic

import pytest

from runner import relay
from tests.journeys.plane import FLOW, Plane, Tools, plane
from tests.runner.box import make_box
from tests.swarms import MANAGER, NETWORK, WORKERS, Swarm, listening_in, swarm
from tests.waiting import until

pytestmark = [
    pytest.mark.docker,
    pytest.mark.netns,
    pytest.mark.node,
    pytest.mark.slow,
    pytest.mark.timeout(480),
    pytest.mark.usefixtures("agent_images"),
]
LOST_S = 45
"""A manager gives a node up after about 15 s of silence; the rest is for a busy machine."""
HEALED_S = 45
AGENT = """
const ask = async (url, body, headers) => {
  const bearer = { authorization: "Bearer " + process.env.PRELOOP_API_TOKEN, "content-type": "application/json" }
  const answer = await fetch(url, { method: "POST", headers: { ...bearer, ...headers }, body: JSON.stringify(body) })
  console.log(url, answer.status, await answer.text())
  if (!answer.ok) process.exit(1)
}
const call = (method, params) => ask(process.env.PRELOOP_MCP_URL, { jsonrpc: "2.0", id: 1, method, params },
  { accept: "application/json, text/event-stream", "mcp-protocol-version": "2025-06-18" })
const messages = [{ role: "user", content: "are you there" }]
const args = { amount: 5, recipient: "contractor@example.com", contract_id: "CONTRACT-2025-001" }
ask(process.env.OPENAI_BASE_URL + "/chat/completions", { model: process.env.PRELOOP_MODEL, messages })
  .then(() => call("tools/list", {})).then(() => call("tools/call", { name: "pay", arguments: args }))
"""


@dataclass(frozen=True, kw_only=True)
class Scene:
    swarm: Swarm
    plane: Plane
    tools: Tools

    async def begin(self, name: str, *command: str, **also: object) -> str:
        """An execution of a program in the smallest image that agents can run in."""
        told = {"runtime": "command", "model": "default", "image": relay.IMAGE, "command": command}
        kept = [line for line in FLOW.read_text().splitlines() if not line.startswith(("name:", "agent:", "#", "lim"))]
        room = {"memory": "256m", "cpus": 0.5}
        more = [f"{key}: {json.dumps(value)}" for key, value in {"agent": told, "resources": room, **also}.items()]
        return await self.plane.trigger(await self.plane.apply("\n".join([*kept, f"name: {name}", *more])))

    async def said(self, id_: str) -> list[str]:
        return [line["text"] for line in (await self.plane.get(f"/executions/{id_}/logs"))["items"]]

    async def saying(self, id_: str, text: str) -> None:
        async def heard() -> bool:
            return text in await self.said(id_)

        await until(heard, 60, what=f"{text!r} of {id_}")

    async def gone(self, id_: str, limit_s: float = 30) -> None:
        """Until there is nothing of it: container, service, secret."""

        async def nothing() -> bool:
            left = await self.swarm.left(f"preloop.execution={id_}")
            known = [await self.swarm.ask(kind, "ls", "-q") for kind in ("service", "secret")]
            return not left and known == ["", ""]

        await until(nothing, limit_s, what="nothing to be left")


@pytest.fixture(scope="module")
async def scene(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """Agents are for nodes with a label; the third has it."""
    box, folder = make_box(), tmp_path_factory.mktemp("swarm")
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(swarm())
        await made.load(box, MANAGER)
        await made.load(relay.IMAGE, *WORKERS)
        await made.label("n3", "agents=yes")
        people = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        inner = stack.enter_context(listening_in(await made.door(box)))
        where = f'swarm = {{network = "{NETWORK}", constraints = ["node.labels.agents==yes"]}}'
        up, tools = await stack.enter_async_context(
            plane(
                folder,
                engine="swarm",
                runner=f'docker_socket = "{made.url()}"\nstop_grace_s = 2\n{where}',
                more='container_host = "0.0.0.0"\n',
                ports={"people": people, "containers": inner},
            )
        )
        yield Scene(swarm=made, plane=up, tools=tools)


async def test_an_agent_on_a_node_of_the_swarm_does_its_work_and_leaves_nothing(scene: Scene) -> None:
    id_ = await scene.begin("pays", "node", "-e", AGENT)
    row = await scene.plane.ended(id_)
    assert (row["state"], row["exit_code"], row["message"]) == ("SUCCEEDED", 0, ""), await scene.said(id_)
    assert [payment["amount"] for payment in scene.tools.payments] == [5]
    await scene.gone(id_)
    assert await scene.swarm.made(f"preloop.execution={id_}") == {"n3": 1}


async def test_an_exit_code_is_the_agents_and_nothing_is_tried_again(scene: Scene) -> None:
    id_ = await scene.begin("three", "sh", "-c", "echo three; exit 3")
    row = await scene.plane.ended(id_)
    assert (row["state"], row["exit_code"]) == ("FAILED", 3)
    assert "three" in await scene.said(id_)
    await scene.gone(id_)
    assert await scene.swarm.made(f"preloop.execution={id_}") == {"n3": 1}


async def test_what_an_agent_leaves_is_brought_from_its_node_and_its_result_is_checked(scene: Scene) -> None:
    """No manager reads a node's files: the container hands them over itself."""
    work = "mkdir artifacts; seq 200000 > artifacts/numbers; echo '{\"paid\": 5}' > result.json"
    schema = {"type": "object", "properties": {"paid": {"type": "integer"}}, "required": ["paid"]}
    id_ = await scene.begin("leaves", "sh", "-c", f"node -e '{AGENT}' && {work}", result_schema=schema)
    row = await scene.plane.ended(id_)
    assert (row["state"], row["message"]) == ("SUCCEEDED", ""), await scene.said(id_)
    await scene.gone(id_)
    async with scene.plane.http() as http:
        items = (await http.get(f"/api/v1/executions/{id_}/artifacts")).json()["items"]
        left = {one["name"]: (await http.get(one["url"])).text for one in items}
    numbers = "".join(f"{number}\n" for number in range(1, 200_001))
    assert left == {"artifacts/numbers": numbers, "result.json": '{"paid": 5}\n'}


async def test_cancel_ends_the_container_and_its_last_words_are_kept(scene: Scene) -> None:
    id_ = await scene.begin(
        "cancelled", "sh", "-c", "trap 'echo last words; exit 0' TERM; echo at work; while :; do sleep 1; done"
    )
    await scene.saying(id_, "at work")
    async with scene.plane.http() as http:
        (await http.post(f"/api/v1/executions/{id_}/cancel")).raise_for_status()
    assert (await scene.plane.ended(id_))["state"] == "CANCELLED"
    await scene.gone(id_, 60)
    assert "last words" in await scene.said(id_)
    assert await scene.swarm.made(f"preloop.execution={id_}") == {"n3": 1}


async def test_a_node_that_is_cut_off_loses_its_run_in_bounded_time_and_no_second_agent_starts(scene: Scene) -> None:
    id_ = await scene.begin("lost", "sh", "-c", "echo at work; sleep 600")
    await scene.saying(id_, "at work")
    label = f"preloop.execution={id_}"
    await scene.swarm.label("n2", "agents=yes")  # a second agent would have a place
    scene.swarm.cut("n3")
    cut = monotonic()
    row = await scene.plane.ended(id_, limit_s=LOST_S)
    assert (row["state"], row["cause"]) == ("FAILED", "runner_lost")
    print(f"runner_lost {monotonic() - cut:.1f} s after the node was cut off")
    assert await scene.swarm.left(label) == {"n3": 1}  # it has heard nothing, and goes on

    other = await scene.begin("other", "sh", "-c", "echo elsewhere; exit 3")
    assert (await scene.plane.ended(other))["exit_code"] == 3
    assert await scene.swarm.made(f"preloop.execution={other}") == {"n2": 1}

    scene.swarm.heal("n3")
    healed = monotonic()
    await scene.gone(id_, HEALED_S)
    print(f"nothing left {monotonic() - healed:.1f} s after it healed")
    assert await scene.swarm.made(label) == {"n3": 1}
    assert await scene.swarm.state("n3") == "ready"
