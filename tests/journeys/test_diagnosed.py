"""Real runs on the process engine that end badly, or only look as if they did: what people are told of each."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.journeys.plane import Plane, plane

CORPUS = (Path(__file__).parents[1] / "control" / "succeeded.txt").read_text().split("\n---\n")
PAY = {"recipient": "a@example.com", "amount": 5, "currency": "USD"}
USAGE = {"input": 60, "output": 40}
SCRIPTS: dict[str, list[dict[str, Any]]] = {
    "noisy": [{"say": "\n".join(CORPUS)}],
    "nobody": [{"call": [{"tool": "pay", "arguments": PAY | {"recipient": "nobody"}}]}, {"say": "Too bad."}],
    "nothing": [{"call": [{"tool": "pay", "arguments": {"recipient": "a@example.com"}}]}, {"say": "Too bad."}],
    "twice": [
        {"call": [{"tool": "pay", "arguments": {"recipient": "a@example.com"}}]},
        {"call": [{"tool": "pay", "arguments": PAY}]},
        {"say": "Paid after all."},
    ],
    "busy": [{"status": 429}],
    "broke": [{"say": "I think.", "call": [{"tool": "pay", "arguments": PAY}]}, {"status": 402}],
    "down": [{"status": 500}],
    "dear": [{"say": "One.", "call": [{"tool": "pay", "arguments": PAY}], "usage": USAGE}, {"say": "Two."}],
}
PRICES = 'input_usd_per_mtok = "2.50"\noutput_usd_per_mtok = "10.00"\n'
FLOW = """
version: 1
name: {name}
agent: {{runtime: scripted, model: {name}}}
prompt: Go.
tools: [{{server: payments, tool: pay}}]
"""


def models(folder: Path) -> str:
    """The scripts as aliases of preloop.toml, with the retries that an alias has unless it says otherwise."""
    text = ""
    for name, turns in SCRIPTS.items():
        path = folder / f"{name}.yaml"
        path.write_text(json.dumps({"version": 1, "turns": turns}))
        text += f'[models.{name}]\nprovider = "scripted"\nscript = "{path}"\nmax_output_tokens = 90\n{PRICES}'
    return text


@pytest.fixture(scope="module")
async def running(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plane]:
    folder = tmp_path_factory.mktemp("diagnosed")
    async with plane(folder, more=models(folder)) as (opened, _):
        yield opened


async def ran(running: Plane, name: str, more: str = "") -> dict[str, Any]:
    """A run of the flow with this model, as it ended."""
    await running.apply(FLOW.format(name=name) + more)
    return await running.ended(await running.trigger(name, {}))


async def log(running: Plane, run: dict[str, Any]) -> list[tuple[str, str]]:
    lines = (await running.get(f"/executions/{run['id']}/logs"))["items"]
    return [(line["level"], line["text"]) for line in lines if line["source"] == "preloop"]


async def test_an_agent_that_prints_what_looks_like_failures_succeeds(running: Plane) -> None:
    run = await ran(running, "noisy")
    lines = (await running.get(f"/executions/{run['id']}/logs"))["items"]
    assert (run["state"], run["cause"], run["failure"], run["exit_code"]) == ("SUCCEEDED", None, None, 0)
    said = [line["text"] for line in lines if line["source"] == "agent"]
    assert {"Traceback (most recent call last):", "[ERROR] connection refused, trying again"} <= set(said)
    assert any(line["level"] == "error" for line in lines)


@pytest.mark.parametrize(
    ("name", "cause", "message", "hint", "failure"),
    [
        (
            "nobody",
            "tool_failed",
            "Tool 'pay' failed with error: Invalid recipient email address",
            "Verify the recipient email format in your prompt template",
            {"stage": "tool", "tool": "pay", "model": None, "provider": None},
        ),
        (
            "nothing",
            "invalid_arguments",
            "Tool 'pay' failed: required argument 'amount' missing",
            "Update prompt template to provide 'amount' argument",
            {"stage": "tool", "tool": "pay", "model": None, "provider": None},
        ),
        (
            "broke",
            "credits_exhausted",
            "Scripted API error: Out of API credits for model 'broke'",
            "Add credits to your Scripted account",
            {"stage": "upstream", "tool": None, "model": "broke", "provider": "scripted"},
        ),
        (
            "down",
            "model_error",
            "Scripted API error: Status 500 from model 'down'",
            "Retry later, or give [models.down] a second upstream to fall back on",
            {"stage": "upstream", "tool": None, "model": "down", "provider": "scripted"},
        ),
    ],
)
async def test_a_run_that_failed_says_why(
    running: Plane, name: str, cause: str, message: str, hint: str, failure: dict[str, Any]
) -> None:
    run = await ran(running, name)
    assert (run["state"], run["cause"], run["failure"]) == ("FAILED", cause, failure)
    assert run["message"].startswith(message)
    assert run["hint"].startswith(hint)
    if cause == "invalid_arguments":
        told = await log(running, run)
        assert told[told.index(("error", message)) + 1] == ("info", f"Fix: {hint}")


async def test_a_mistake_that_the_agent_corrected_is_none(running: Plane) -> None:
    run = await ran(running, "twice")
    assert (run["state"], run["cause"]) == ("SUCCEEDED", None)


async def test_a_budget_of_ours_is_told_apart_and_named(running: Plane) -> None:
    run = await ran(running, "dear", 'limits: {budget_usd: "0.0035"}\n')
    assert (run["cause"], run["failure"]["stage"], run["failure"]["model"]) == ("budget_exceeded", "budget", "dear")
    assert run["message"].startswith("The budget of 0.0035 USD for this run has no room for this call: ")
    assert run["hint"].startswith("Raise limits.budget_usd in the flow")


async def test_a_retry_is_there_with_the_end_of_what_failed(running: Plane) -> None:
    run = await ran(running, "busy", "retries: {attempts: 2, on: [model_error]}\n")
    assert (run["message"], run["hint"]) == (
        "Scripted API error: Rate limit exceeded",
        "Wait a few minutes and retry, or upgrade your Scripted plan",
    )
    assert run["failure"] == {"stage": "upstream", "tool": None, "model": "busy", "provider": "scripted"}
    [planned] = [text for _, text in await log(running, run) if text.startswith("Retrying in ")]
    assert planned.endswith(" s (attempt 2 of 3)")
    retry = await running.get(f"/executions/{run['retried_by']}")
    assert (retry["state"], retry["retry_of"], retry["attempt"]) == ("PENDING", run["id"], 1)
    assert retry["waiting_for"]["reason"] == "backoff"
    last = await running.ended(retry["id"])
    assert (last["cause"], (await running.get(f"/executions/{last['retried_by']}"))["attempt"]) == ("model_error", 2)
