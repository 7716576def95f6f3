"""The main job through its doors: a signed webhook, an agent, a gated tool, a person in a browser, the bill."""

import json
from pathlib import Path

import httpx
from playwright.async_api import Browser, expect

from kit import webhooks
from kit.clock import Clock
from preloop.demo import decide
from tests.journeys.plane import PAYLOAD, plane


async def test_a_person_approves_in_a_browser_and_the_tool_runs_exactly_once(tmp_path: Path, browser: Browser) -> None:
    async with plane(tmp_path) as (running, tools):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        assert tools.payments == []

        page = await browser.new_page(viewport={"width": 390, "height": 844})
        await page.goto(await running.link())
        assert "apl_" not in page.url
        await expect(page.get_by_text("1500").first).to_be_visible()
        await page.get_by_role("button", name="Approve", exact=True).click()
        await expect(page.get_by_text("Approved").first).to_be_visible()
        await page.close()

        row = await running.ended(execution_id)
        assert (row["state"], row["cause"]) == ("SUCCEEDED", None)
        assert [(p["recipient"], p["amount"], p["contract_id"]) for p in tools.payments] == [
            (PAYLOAD["recipient"], PAYLOAD["amount"], PAYLOAD["contract_id"])
        ]
        calls = (await running.get(f"/executions/{execution_id}/tool-calls"))["items"]
        assert [(call["tool"], call["status"]) for call in calls] == [("pay", "succeeded")]
        model_calls = (await running.get(f"/executions/{execution_id}/model-calls"))["items"]
        assert len(model_calls) == 2 and all(call["cost_usd"] for call in model_calls)
        log = (await running.get(f"/executions/{execution_id}/logs"))["items"]
        told = "\n".join(line["text"] for line in log)
        for sentence in (
            "Tool: pay",
            "Status: Waiting for approval (tool is prelooped)",
            "Approval request sent to: Alice",
            "Waiting for approval... (timeout: 10 minutes)",
            "Approval received from: Alice",
            "Executing tool...",
            "Tool result:",
        ):
            assert sentence in told


async def test_the_same_job_on_postgresql(tmp_path: Path, postgres_database: str) -> None:
    async with plane(tmp_path, database=postgres_database) as (running, tools):
        execution_id = await running.trigger()
        await running.waiting(execution_id)
        await decide(await running.link(), "approved")
        assert (await running.ended(execution_id))["state"] == "SUCCEEDED"
        assert len(tools.payments) == 1
        for page in ("/dashboard", "/executions", "/flows", "/approvals", "/sessions", "/spend", "/users"):
            assert await running.get(page)
        for part in ("logs", "events", "tool-calls", "approvals", "model-calls"):
            assert (await running.get(f"/executions/{execution_id}/{part}"))["items"]


async def test_the_page_of_a_run_shows_each_step_live(tmp_path: Path, browser: Browser) -> None:
    async with plane(tmp_path) as (running, _):
        page = await browser.new_page(viewport={"width": 1280, "height": 900})
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        await page.goto((await running.said("Sign in")).rsplit(" ", 1)[1])
        await page.get_by_role("button", name="Sign in").first.click()
        execution_id = await running.trigger()
        await page.goto(f"{running.found['url']}/executions/{execution_id}")
        await expect(page.get_by_text("Waiting for Approval").first).to_be_visible()
        await expect(page.get_by_text("I have one payment to make").first).to_be_visible()

        other = await browser.new_page()
        await other.goto(await running.link())
        await other.get_by_role("button", name="Approve", exact=True).click()
        await other.close()
        await expect(page.get_by_text("Succeeded").first).to_be_visible()
        await expect(page.get_by_text("tx_").first).to_be_visible()
        assert errors == []
        await page.close()


async def test_a_signed_webhook_starts_a_run_once_and_a_bad_one_is_told_nothing(tmp_path: Path) -> None:
    async with plane(tmp_path) as (running, _):
        async with running.http() as rest:
            secret = (await rest.post("/api/v1/flows/process-payment/webhook-secret")).json()["secret"]
        body = json.dumps(PAYLOAD).encode()
        now = int(Clock().now().timestamp())
        url = f"{running.found['url']}/hooks/flows"
        async with httpx.AsyncClient(verify=False, trust_env=False) as sender:
            headers = webhooks.sign(secret, message_id="msg_1", timestamp=now, body=body)
            first = await sender.post(f"{url}/process-payment", content=body, headers=headers)
            again = await sender.post(f"{url}/process-payment", content=body, headers=headers)
            assert first.status_code == again.status_code == 202
            assert first.json()["execution_id"] == again.json()["execution_id"]
            forged = await sender.post(f"{url}/process-payment", content=body + b" ", headers=headers)
            unknown = await sender.post(f"{url}/no-such-flow", content=body, headers=headers)
            assert forged.status_code == unknown.status_code == 401
            assert forged.json()["detail"] == unknown.json()["detail"]
            broken = webhooks.sign(secret, message_id="msg_2", timestamp=now, body=b"{")
            unread = await sender.post(f"{url}/process-payment", content=b"{", headers=broken)
            assert unread.status_code == 422 and unread.json()["hint"]
        listed = (await running.get("/executions"))["items"]
        assert len(listed) == 1
