"""A real agent: Codex CLI in a hardened container, its model behind our gateway, its one tool gated."""

import json
from pathlib import Path

import pytest

from preloop.demo import decide
from tests.journeys.plane import FLOW, plane

pytestmark = [pytest.mark.docker, pytest.mark.codex, pytest.mark.usefixtures("agent_images")]


async def test_codex_asks_a_person_pays_once_and_is_billed(tmp_path: Path) -> None:
    async with plane(tmp_path, engine="docker") as (running, tools):
        await running.apply(FLOW.read_text().replace("runtime: scripted", "runtime: codex"))
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        assert tools.payments == []
        await decide(await running.link(), "approved")
        row = await running.ended(execution_id)
        log = (await running.get(f"/executions/{execution_id}/logs"))["items"]
        assert row["state"] == "SUCCEEDED", json.dumps([row, log], indent=1)
        assert len(tools.payments) == 1
        calls = (await running.get(f"/executions/{execution_id}/tool-calls"))["items"]
        assert [(call["tool"], call["status"]) for call in calls] == [("pay", "succeeded")]
        models = (await running.get(f"/executions/{execution_id}/model-calls"))["items"]
        assert {call["wire"] for call in models} == {"responses"}
        assert all(call["cost_usd"] for call in models)
