"""A stop in the middle of streams: each ends with the terminal event of its wire, in time, and nothing breaks."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from control.identity.doorkeeper import Doorkeeper, Listener
from preloop.doors import Doors
from preloop.listen import STOP_S, Served, bind, listening, port_of
from tests.fakes import raw_provider as raw
from tests.fakes.raw_provider import Provider
from tests.gateway.plane import PRICES, Plane, open_plane
from tests.waiting import still

SAY: Any = [{"role": "user", "content": "Go."}]
ASK: Mapping[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/openai/v1/chat/completions", {"model": "m", "stream": True, "messages": SAY}),
    "responses": ("/openai/v1/responses", {"model": "m", "stream": True, "input": "Go."}),
    "messages": ("/anthropic/v1/messages", {"model": "m", "stream": True, "messages": SAY, "max_tokens": 9}),
    "gemini": (
        "/gemini/v1beta/models/m:streamGenerateContent?alt=sse",
        {"contents": [{"role": "user", "parts": [{"text": "Go."}]}]},
    ),
}
LAST = {
    "chat": "data: [DONE]\n\n",
    "responses": '"type":"response.failed"',
    "messages": "event: error\n",
    "gemini": '"code":503',
}


@asynccontextmanager
async def stopping(folder: Path, *play: Any) -> AsyncIterator[tuple[Plane, Provider, anyio.Event]]:
    """A gateway as the product serves it; set the event and it stops. The context ends when it has."""
    async with raw.serve(raw.stream(play)) as provider:
        entry = {"model": "m-1", "base_url": provider.url, "api_key": "k", "dialects": ["chat"], **PRICES}
        async with open_plane(folder, {"m": entry}) as plane:
            app = plane.gateway.app(Doorkeeper(plane.db, plane.bus, Listener.CONTAINERS))
            doors = Doors(people=app, containers=app, endpoint=None, egress=None, gateway=plane.gateway)
            stop, sock = anyio.Event(), bind("127.0.0.1", 0)
            plane.containers = f"http://127.0.0.1:{port_of(sock)}"

            async def serve() -> None:
                async with listening(Served(app=doors.containers, sockets=[sock])):
                    listens.set()
                    await stop.wait()
                    doors.drain()

            listens = anyio.Event()
            with sock:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(serve)
                    await listens.wait()
                    yield plane, provider, stop


async def test_each_wire_gets_its_last_event_when_we_stop(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    ends: dict[str, str] = {}
    with anyio.fail_after(STOP_S + 20):
        async with stopping(tmp_path, raw.word("Once"), asyncio.Event()) as (plane, _, stop):
            session, token = await plane.session("m")
            async with (
                httpx.AsyncClient(
                    verify=False, base_url=plane.containers, headers={"x-api-key": token}, timeout=30
                ) as client,
                anyio.create_task_group() as tasks,
            ):

                async def stream(wire: str) -> None:
                    path, body = ASK[wire]
                    async with client.stream("POST", path, json=body) as answer:
                        assert answer.status_code == 200
                        pieces = answer.aiter_text()
                        text = await anext(pieces)
                        running.append(wire)
                        if len(running) == len(ASK):
                            stop.set()
                        ends[wire] = text + "".join([piece async for piece in pieces])

                running: list[str] = []
                for wire in ASK:
                    tasks.start_soon(stream, wire)
            spend = await plane.spend(session, calls=4)
    assert {wire: LAST[wire] in text for wire, text in ends.items()} == dict.fromkeys(ASK, True)
    assert all("The gateway stops" in text for text in ends.values())
    assert (spend.calls, spend.estimated) == (4, 4)
    assert [record.message for record in caplog.records if "ASGI" in record.message] == []


async def test_a_client_that_does_not_read_breaks_nothing_when_we_stop(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    play = [raw.word("x" * 100_000)] * 200
    with anyio.fail_after(STOP_S + 20):
        async with stopping(tmp_path, *play) as (plane, provider, stop):
            session, token = await plane.session("m")
            path, body = ASK["chat"]
            async with (
                httpx.AsyncClient(
                    verify=False, base_url=plane.containers, headers={"x-api-key": token}, timeout=30
                ) as client,
                client.stream("POST", path, json=body) as answer,
            ):
                assert answer.status_code == 200
                assert await still(lambda: provider.sent) > 0  # the provider is held up as well
                stop.set()
                assert (await plane.spend(session)).estimated == 1
    assert [record.message for record in caplog.records if "ASGI" in record.message] == []
