"""A session that another process revokes: its streams here end within a second, however often it is asked for."""

import time
from pathlib import Path

import anyio
import httpx

from control.identity import sessions
from kit.bus import Bus
from kit.db import Database
from tests.databases import connected
from tests.gateway.plane import PRICES, Plane, open_plane, script
from tests.gateway.test_streams import body

OFFSETS_S = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9)


async def test_a_session_revoked_in_another_process_ends_its_streams_within_a_second(tmp_path: Path) -> None:
    slow = {"provider": "scripted", "script": script(tmp_path, {"say": "Ever.", "delay_ms": 60_000}), **PRICES}
    async with open_plane(tmp_path, {"slow": slow}, patience_s=0.05) as plane:
        elsewhere = connected(tmp_path / "plane.db", Bus())
        took: list[float] = []
        try:
            async with anyio.create_task_group() as tasks:
                for offset_s in OFFSETS_S:
                    tasks.start_soon(_one, plane, elsewhere, offset_s, took)
        finally:
            await elsewhere.close()
        assert len(took) == len(OFFSETS_S)
        assert max(took) < 1.0


async def _one(plane: Plane, elsewhere: Database, offset_s: float, took: list[float]) -> None:
    """Stream, ask for other things all the while, and be revoked somewhere in the second."""
    session, token = await plane.session("slow")
    async with httpx.AsyncClient(
        verify=False, base_url=plane.containers, headers={"x-api-key": token}, timeout=30
    ) as client:

        async def ask() -> None:
            status = 200
            while status == 200:
                status = (await client.get("/openai/v1/models")).status_code

        async with (
            anyio.create_task_group() as tasks,
            client.stream("POST", "/openai/v1/responses", json=body("slow", "responses")) as answer,
        ):
            assert answer.status_code == 200
            tasks.start_soon(ask)
            await anyio.sleep(1.0 + offset_s)  # where in the rounds of those who look it comes is what is varied
            await elsewhere.write(lambda tx: sessions.revoke(tx, session))
            revoked = time.monotonic()
            assert "response.failed" in (await answer.aread()).decode()
            took.append(time.monotonic() - revoked)
