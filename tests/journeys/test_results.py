"""What a real agent leaves in a real work folder: its files, its result, and the diff of what it did."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.plane import FLOW, Plane, plane
from tests.waiting import until

ON_HOST = f"{sys.executable} {FLOW.parents[2]}/images/scripted/agent.py"
AGENT = {"docker": "python3 /opt/agent/agent.py", "process": ON_HOST, "bwrap": ON_HOST}
WORK = """
mkdir -p artifacts/charts; printf '\\000\\001chart' > artifacts/charts/a.png; ln -s /etc/passwd artifacts/passwd
echo "two" > notes; echo new > made; echo "token $PRELOOP_API_TOKEN" >> made; echo '{"paid": %s}' > result.json
"""
SCHEMA = {"type": "object", "properties": {"paid": {"type": "integer"}}, "required": ["paid"]}
LEFT = {
    "ends": [("SUCCEEDED", None), ("FAILED", "result_invalid")],
    "kept": {"artifacts/charts/a.png": b"\0\1chart", "result.json": b'{"paid": 5}\n'},
    "told": ["1 in artifacts/ left out: a link, a device or a pipe."],
    "payments": 2,
}
PAYLOAD = {"amount": 5, "recipient": "contractor@example.com", "contract_id": "CONTRACT-2025-001"}


def flow(name: str, engine: str, paid: str) -> str:
    """The example's job, done by the scripted agent between two steps of a shell."""
    command = ["sh", "-ec", AGENT[engine] + "\n" + WORK % paid]
    told = {"runtime": "command", "model": "default", "image": "preloop/scripted", "command": command}
    lines = [
        line
        for line in FLOW.read_text().splitlines()
        if not line.startswith(("name:", "agent:", "#", "limits:", "description:"))
    ]
    init = [
        "git init -q -b main ../upstream; cd ../upstream; echo one > notes; git add .",
        "git -c user.name=t -c user.email=t@example.com commit -qm first",
        "git bundle create -q ../upstream.bundle HEAD main; cd ../work",
        "git clone -q ../upstream.bundle .",
    ]
    more = {"agent": told, "init": init, "result_schema": SCHEMA}
    return "\n".join([*lines, f"name: {name}", *(f"{key}: {json.dumps(value)}" for key, value in more.items())])


async def left(running: Plane, execution_id: str) -> dict[str, bytes]:
    """Every artifact, as it is downloaded."""
    found: dict[str, bytes] = {}
    async with running.http() as http:

        async def listed() -> list[dict[str, Any]] | None:
            items = (await http.get(f"/api/v1/executions/{execution_id}/artifacts")).json()["items"]
            return items if any(one["name"] == "changes.patch" for one in items) else None

        for one in await until(listed, 30, what="what the agent left") or ():
            found[one["name"]] = (await http.get(one["url"])).content
            assert hashlib.sha256(found[one["name"]]).hexdigest() == one["sha256"]
    return found


async def test_what_an_agent_leaves_is_kept_and_its_result_is_checked(tmp_path: Path) -> None:
    assert await left_by_runs(tmp_path, "process") == LEFT


@pytest.mark.docker
@pytest.mark.usefixtures("agent_images")
async def test_the_same_in_a_container(tmp_path: Path) -> None:
    assert await left_by_runs(tmp_path, "docker") == LEFT


@pytest.mark.bwrap
async def test_the_same_in_a_sandbox(tmp_path: Path) -> None:
    assert await left_by_runs(tmp_path, "bwrap") == LEFT


async def test_the_same_on_postgresql(tmp_path: Path, postgres_database: str) -> None:
    assert await left_by_runs(tmp_path, "process", postgres_database) == LEFT


async def left_by_runs(tmp_path: Path, engine: str, database: str | None = None) -> dict[str, object]:
    """What became of a run with a right result, and of one with a wrong one."""
    async with plane(tmp_path, engine=engine, database=database) as (running, tools):
        good, bad = [await running.apply(flow(name, engine, paid)) for name, paid in (("good", "5"), ("bad", '"all"'))]
        id_ = await running.trigger(good, PAYLOAD)
        right = await running.ended(id_)
        found = await left(running, id_)
        patch = found.pop("changes.patch").decode()
        assert "--- a/notes\n+++ b/notes\n@@ -1 +1 @@\n-one\n+two\n" in patch
        assert "+++ b/made\n" in patch and "+new\n" in patch
        assert "eyJ" not in patch and ".preloop" not in patch
        lines = [line["text"] for line in (await running.get(f"/executions/{id_}/logs"))["items"]]
        wrong = await running.ended(await running.trigger(bad, PAYLOAD))
        assert "paid: 'all' is not of type 'integer'" in wrong["message"]
        return {
            "ends": [(row["state"], row["cause"]) for row in (right, wrong)],
            "kept": found,
            "told": [line for line in lines if "left out" in line],
            "payments": len(tools.payments),
        }
