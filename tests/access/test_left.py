"""The door by which a container hands over what its agent left: whose it is, how much, whole or not at all."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from access import left
from control.executions import intake, results
from control.flows import catalog, source
from control.identity.accounts import DEFAULT
from control.retention import strays
from control.tables import accounts, executions
from kit.blobs import Blobs
from kit.db import Tx
from kit.objects import Address, Objects
from kit.secrets import Sealer
from tests.access.plane import Plane, plane
from tests.s3 import address
from tests.waiting import until

ID = "exe_1"


FLOW = "{version: 1, name: left, agent: {runtime: scripted, model: m}, triggers: [{type: manual}], prompt: Go.}"


def begun(tx: Tx) -> None:
    """An execution `ID` that a swarm runs."""
    catalog.apply(tx, DEFAULT, source.read(FLOW), sealer=Sealer.fresh(), by="test")
    made = intake.start(tx, DEFAULT, "left", {}, trigger="manual", by="test").execution_id
    tx.execute(sa.update(executions).where(executions.c.id == made).values(id=ID, engine="swarm:t"))


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Plane]:
    async with plane(tmp_path) as opened:
        await opened.db.write(begun)
        yield opened


async def put(running: Plane, token: str, name: str, content: object) -> httpx.Response:
    async with httpx.AsyncClient(base_url=running.url, timeout=60) as http:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await http.put(f"/api/v1/agent/left/{name}", content=content, headers=headers)  # type: ignore[arg-type]


async def begin(running: Plane, token: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Half of what is announced, and then nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    head = f"PUT /api/v1/agent/left/artifacts HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
    writer.write(f"{head}content-length: 1000000\r\n\r\n".encode() + bytes(500_000))
    return reader, writer


async def kept(running: Plane) -> list[str]:
    return [str(path.relative_to(running.blobs.root)) for path in running.blobs.root.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", results.HANDED)
async def test_what_is_brought_waits_under_its_execution_and_the_last_one_counts(running: Plane, name: str) -> None:
    _, token = await running.session(ID)
    for content in (b"first", b"x" * 1_000_000):
        assert (await put(running, token, name, content)).status_code == 204
    assert await kept(running) == [results.handed_of(ID, name)]
    assert await running.blobs.get(results.handed_of(ID, name)) == b"x" * 1_000_000


async def test_who_has_no_execution_brings_nothing(running: Plane) -> None:
    enrolled = (await running.session())[1]
    session_id, ended = await running.session(ID)
    await running.revoke(session_id)
    refused = [await put(running, token, results.RESULT, b"x") for token in ("", "forged", ended, enrolled)]
    assert [answer.status_code for answer in refused] == [401, 401, 401, 404]
    assert await kept(running) == []


async def test_an_execution_whose_engine_reads_files_brings_nothing(running: Plane) -> None:
    _, token = await running.session(ID)
    await running.db.write(lambda tx: tx.execute(sa.update(executions).values(engine="docker:t")))
    assert (await put(running, token, results.RESULT, b"x")).status_code == 404
    assert await kept(running) == []


async def test_without_room_in_the_plan_it_is_refused(running: Plane) -> None:
    _, token = await running.session(ID)
    await running.db.write(lambda tx: tx.execute(sa.update(accounts).values(storage_bytes=0)))
    answer = await put(running, token, results.RESULT, b"x")
    assert (answer.status_code, answer.json()["code"]) == (403, "storage_full")
    assert await kept(running) == []


async def test_what_was_read_elsewhere_goes_and_so_do_drafts_that_nobody_writes(running: Plane) -> None:
    _, token = await running.session(ID)
    await put(running, token, results.RESULT, b"x")
    await running.blobs.append(f"{results.folder_of(ID)}/old.new", b"x")
    assert await strays.tidy(running.db, running.blobs) == 0
    assert len(await kept(running)) == 2
    await running.db.write(lambda tx: tx.execute(sa.update(executions).values(cleaned_at=tx.now())))
    old = running.blobs.path(f"{results.folder_of(ID)}/old.new")
    os.utime(old, (0, 0))
    assert await strays.tidy(running.db, running.blobs) == 1
    assert await kept(running) == []


@pytest.mark.parametrize("name", ["notes", "..%2fresult.json", "handed.artifacts.tar"])
async def test_nothing_else_is_taken(running: Plane, name: str) -> None:
    _, token = await running.session(ID)
    assert (await put(running, token, name, b"x")).status_code == 404
    assert await kept(running) == []


async def test_there_is_an_end_to_its_bytes(running: Plane) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(results.HANDED_MOST // (1 << 20) + 1):
            yield bytes(1 << 20)

    _, token = await running.session(ID)
    answer = await put(running, token, results.FOLDER, endless())
    assert (answer.status_code, answer.json()["code"]) == (422, "too_large")
    assert await kept(running) == []


async def test_with_an_object_store_it_is_there_before_the_answer(
    running: Plane, tmp_path: Path, bucket: Address
) -> None:
    """Its reader may be on another machine, so the size from which files go there does not count."""
    running.blobs.far = Objects(bucket)
    _, token = await running.session(ID)
    assert (await put(running, token, results.RESULT, b"x")).status_code == 204
    assert await kept(running) == []
    elsewhere = Blobs(tmp_path / "another", Objects(bucket))
    assert await elsewhere.get(results.handed_of(ID, results.RESULT)) == b"x"
    running.blobs.far = Objects(address("http://127.0.0.1:9"))
    answer = await put(running, token, results.FOLDER, b"x")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
    assert await kept(running) == []


async def test_a_session_that_ends_meanwhile_brings_nothing(running: Plane) -> None:
    session_id, token = await running.session(ID)

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        await until(lambda: bool(list(running.blobs.root.rglob("*.new"))), 20, what="a draft")
        await running.revoke(session_id)
        yield b"x"

    assert (await put(running, token, results.RESULT, slow())).status_code == 401
    assert await kept(running) == []


async def test_who_takes_too_long_brings_nothing(running: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(left, "LIMIT_S", 0.2)
    _, token = await running.session(ID)
    reader, writer = await begin(running, token)
    async with asyncio.timeout(30):
        answer = await reader.readuntil(b"not_whole")
    assert answer.startswith(b"HTTP/1.1 422 ")
    assert await kept(running) == []
    writer.close()


async def test_one_at_a_time_and_what_was_cut_leaves_nothing(running: Plane) -> None:
    _, token = await running.session(ID)
    _, writer = await begin(running, token)

    async def begun() -> bool:
        return bool(await kept(running))

    await until(begun, 20, what="a draft")
    answer = await put(running, token, results.RESULT, b"x")
    assert (answer.status_code, answer.json()["code"]) == (409, "already_bringing")
    writer.transport.abort()

    async def forgotten() -> bool:
        return not await kept(running)

    await until(forgotten, 20, what="the draft to go")
    assert (await put(running, token, results.RESULT, b"x")).status_code == 204
