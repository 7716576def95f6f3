"""Tool servers that are programs: what they get of us, what becomes of them when they fail or we stop."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_server.settings import UpstreamServer
from mcp_server.upstream.upstream import Answered, Lost, NotSent, Upstream
from tests.waiting import until

PROGRAM = Path(__file__).with_name("stdio_fake.py")


@asynccontextmanager
async def started(**settings: Any) -> AsyncIterator[Upstream]:
    server = {"command": [sys.executable, str(PROGRAM)], "timeout": "20s"} | settings
    upstream = Upstream("stdio", UpstreamServer.model_validate(server))
    async with anyio.create_task_group() as supervised:
        supervised.start_soon(upstream.run)
        yield upstream
        supervised.cancel_scope.cancel()


async def text(upstream: Upstream, tool: str, **arguments: Any) -> str:
    assert await upstream.ready(20)
    outcome = await upstream.call(tool, arguments)
    assert isinstance(outcome, Answered), outcome
    return str(outcome.result["content"][0]["text"])


async def test_a_program_is_started_listed_and_called_with_exactly_those_arguments() -> None:
    async with started() as upstream:
        assert await text(upstream, "echo", a=None, b=[1, None]) == '{"a": null, "b": [1, null]}'
        assert upstream.definitions is not None
        assert "echo" in upstream.definitions


async def test_it_gets_the_variables_it_was_given_and_none_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRELOOP_PROVIDER_KEY", "s3cret")
    async with started(env={"TOOL_KEY": "abc"}) as upstream:
        environment = json.loads(await text(upstream, "environment"))
    assert environment["TOOL_KEY"] == "abc"
    assert "s3cret" not in environment.values()


async def test_one_that_dies_in_mid_call_is_unknown_and_is_started_again() -> None:
    async with started() as upstream:
        assert await upstream.ready(20)
        outcome = await upstream.call("die", {})
        assert isinstance(outcome, Lost)
        assert await text(upstream, "echo") == "{}"


async def test_an_answer_of_more_than_four_megabytes_is_cut_off_and_said_so() -> None:
    async with started() as upstream:
        assert await upstream.ready(20)
        assert await upstream.call("huge", {}) == Lost(reason="its answer is larger than 4 MB")
        assert await text(upstream, "echo") == "{}"


async def test_everything_it_started_ends_with_it() -> None:
    async with started() as upstream:
        grandchild = int(await text(upstream, "family"))
        os.kill(grandchild, 0)
    assert await until(lambda: _state(grandchild) in ("", "Z"), what="the grandchild to end")


async def test_a_command_that_does_not_exist_is_named() -> None:
    async with started(command=["/nowhere/server"]) as upstream:
        with anyio.fail_after(10):
            outcome = await upstream.call("echo", {})
    assert isinstance(outcome, NotSent)
    assert "/nowhere/server" in outcome.reason


def _state(pid: int) -> str:
    """R, S, Z, …; '' when there is no such process."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.read_text().rpartition(")")[2].split()[0] if stat.exists() else ""
