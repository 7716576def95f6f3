"""The scripted agent as a process, against a control plane that can be killed."""

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from tests.ports import free_port
from tests.runner.programs import plane, program
from tests.waiting import until

AGENT = Path(__file__).parents[2] / "images" / "scripted" / "agent.py"
HOST = "127.0.0.1"


@pytest.fixture
def port() -> int:
    return free_port(HOST)


@asynccontextmanager
async def agent(port: int, folder: Path) -> AsyncIterator[Process]:
    (folder / "prompt.txt").write_text("Pay.")
    env = {
        "PATH": os.environ["PATH"],
        "PRELOOP_MCP_URL": f"http://127.0.0.1:{port}/mcp",
        "PRELOOP_API_TOKEN": "token",
        "PRELOOP_MODEL": "default",
        "PRELOOP_PROMPT_FILE": str(folder / "prompt.txt"),
        "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/openai/v1",
        "OPENAI_API_KEY": "token",
    }
    async with program(AGENT, env=env) as process:
        yield process


def play(folder: Path, *turns: dict[str, Any]) -> None:
    (folder / "turns.json").write_text(json.dumps(turns))


def asked(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "asked.jsonl").read_text().splitlines()]


async def read_until(process: Process, wanted: str) -> None:
    assert process.stdout
    told = ""
    with anyio.fail_after(60):
        async for text in TextReceiveStream(process.stdout):
            told += text
            if wanted in told:
                return
    pytest.fail(f"the output ended without {wanted!r}: {told}")


async def rest(process: Process) -> str:
    assert process.stdout
    with anyio.fail_after(60):
        told = "".join([text async for text in TextReceiveStream(process.stdout)])
        await process.wait()
    return told


PAYMENTS = {
    "say": "I pay\ntwo.",
    "call": [["pay", {"recipient": "a", "amount": 1}], ["pay", {"recipient": "b", "amount": 2}]],
}


async def test_it_calls_what_the_model_wants_in_parallel_and_stops_when_it_does(port: int, tmp_path: Path) -> None:
    play(tmp_path, PAYMENTS, {"say": "Done."})
    (tmp_path / "approved").touch()
    async with plane(HOST, port, tmp_path), agent(port, tmp_path) as process:
        told = await rest(process)
        assert process.returncode == 0
    lines = told.splitlines()
    assert lines[:2] == ["I pay", "two. "]
    assert lines[-1] == "Done. "
    first, *payments, last = asked(tmp_path)
    assert first["tools"] == ["pay", "fail"]
    assert first["bearer"] == "Bearer token"
    assert sorted(payment["recipient"] for payment in payments) == ["a", "b"]
    assert [json.loads(result)["transaction_id"] for result in last["results"]] == ["tx_a", "tx_b"]


async def test_a_waiting_call_survives_the_control_planes_death(port: int, tmp_path: Path) -> None:
    play(tmp_path, {"call": PAYMENTS["call"][:1]}, {"say": "Done."})
    async with plane(HOST, port, tmp_path) as first, agent(port, tmp_path) as process:
        await read_until(process, "Waiting for approval by alice.")
        first.send_signal(signal.SIGKILL)
        await read_until(process, "Dialling again.")
        async with plane(HOST, port, tmp_path):
            await read_until(process, "Waiting for approval by alice.")
            (tmp_path / "approved").touch()
            told = await rest(process)
            assert process.returncode == 0
    assert "tx_a" in told
    payments = [what for what in asked(tmp_path) if "tool" in what]
    assert payments == [{"tool": "pay", "recipient": "a", "amount": 1.0}] * 2


async def test_an_answer_that_arrived_whole_is_kept_when_the_plane_dies_behind_it(port: int, tmp_path: Path) -> None:
    """To ask again would be a second payment: the plane knows that this answer was delivered."""
    play(tmp_path, {"call": PAYMENTS["call"][:1]}, {"say": "Done."})
    (tmp_path / "approved").touch()
    (tmp_path / "dies").touch()
    async with plane(HOST, port, tmp_path) as first, agent(port, tmp_path) as process:
        await first.wait()
        async with plane(HOST, port, tmp_path):
            told = await rest(process)
            assert process.returncode == 0
    assert "tx_a" in told
    assert [what["tool"] for what in asked(tmp_path) if "tool" in what] == ["pay"]


async def test_a_thought_that_broke_off_is_asked_again(port: int, tmp_path: Path) -> None:
    play(tmp_path, {"say": "Let me see", "hang": True})
    async with plane(HOST, port, tmp_path) as first, agent(port, tmp_path) as process:
        await until((tmp_path / "asked.jsonl").exists, 30, what="the model to be asked")
        first.send_signal(signal.SIGKILL)
        await read_until(process, "Dialling again.")
        (tmp_path / "approved").touch()
        async with plane(HOST, port, tmp_path):
            await rest(process)
            assert process.returncode == 0
    assert [what["turn"] for what in asked(tmp_path)] == [0, 0]


async def test_a_refusal_of_the_model_ends_it_with_its_sentence(port: int, tmp_path: Path) -> None:
    play(tmp_path, {"status": 402})
    async with plane(HOST, port, tmp_path), agent(port, tmp_path) as process:
        told = await rest(process)
        assert process.returncode == 1
    assert "The budget is used up." in told
    assert len(asked(tmp_path)) == 1


async def test_a_failing_tool_is_told_to_the_model(port: int, tmp_path: Path) -> None:
    play(tmp_path, {"call": [["fail", {}], ["nothing", {}]]}, {"say": "Too bad."})
    async with plane(HOST, port, tmp_path), agent(port, tmp_path) as process:
        await rest(process)
        assert process.returncode == 0
    refused, unknown = asked(tmp_path)[-1]["results"]
    assert "fail" in refused
    assert "nothing" in unknown


async def test_term_ends_it(port: int, tmp_path: Path) -> None:
    play(tmp_path, {"call": PAYMENTS["call"][:1]})
    async with plane(HOST, port, tmp_path), agent(port, tmp_path) as process:
        await read_until(process, "Waiting for approval")
        process.terminate()
        await rest(process)
        assert process.returncode == -signal.SIGTERM
