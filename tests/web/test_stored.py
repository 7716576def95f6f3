"""What is in the object store, through every door of the people's listener; and what each says while it is away."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from control.executions import archive, logs, results, storage
from control.executions.results import Artifact
from control.identity.principals import Role
from control.tables import executions
from kit.blobs import Blobs
from kit.objects import Address, Objects
from tests.control.house import ACCOUNT
from tests.s3 import address
from tests.serving import serving
from tests.web.ears import Door
from tests.web.world import World, open_world

PAGE = b"<!doctype html><script>alert(1)</script>"
DIFF = b"--- a/notes\n+++ b/notes\n@@ -1 +1 @@\n-one\n+two\n"
AWAY = "The object store is out of reach, or does not answer in time."


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        yield opened


@pytest.fixture
def blobs(world: World, bucket: Address) -> Blobs:
    """The world's own, with a store behind them."""
    found: Blobs = world.app.state.parts.blobs
    found.far = Objects(bucket)
    return found


@pytest.fixture
async def run(world: World, blobs: Blobs) -> str:
    """An execution that is over, with all that it left in the store."""
    house = world.house
    id_ = (await house.running()).execution_id or ""
    for chunk in range(14):
        lines = [("2026-11-22T10:00:00.000000Z", "agent", "info", f"{chunk}.{n} " + "x" * 1000) for n in range(100)]
        await house.db.write(partial(logs.append, account_id=ACCOUNT, execution_id=id_, lines=lines))
    row, left = await house.row(id_), []
    for name, content in {'artifacts/a "b" ż.html': PAGE, "changes.patch": DIFF}.items():
        sha256 = hashlib.sha256(content).hexdigest()
        await blobs.put(results.file_of(id_, sha256), content)
        left.append(Artifact(name=name, size=len(content), sha256=sha256))
    await house.db.write(lambda tx: results.add(tx, row, left))
    await blobs.put(logs.file_of(id_), b"as it came\n")
    await house.end(id_, None)
    await storage.count(house.db)
    assert await archive.move_due(house.db, blobs) == 1
    assert not await blobs.here("results") and not await blobs.here("logs")
    return id_


async def asked(world: World, path: str, **params: int) -> httpx.Response:
    headers = {"authorization": f"Bearer {await world.token(Role.VIEWER, 'api')}"}
    async with serving(world.app) as url, httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return await http.get(path, headers=headers, params=params)


async def page(world: World, path: str) -> httpx.Response:
    async with world.client(await world.token()) as http:
        return await http.get(path)


async def test_lines_are_paged_and_kept_as_ever(world: World, run: str) -> None:
    first = (await asked(world, f"/api/v1/executions/{run}/logs", limit=3, after=99)).json()
    assert [(line["number"], line["text"][:5]) for line in first["items"]] == [
        (100, "0.99 "),
        (101, "1.0 x"),
        (102, "1.1 x"),
    ]
    assert len((await page(world, f"/executions/{run}/log.txt")).text.splitlines()) == 1400
    shown = (await page(world, f"/executions/{run}")).text
    assert 'data-after="1400"' in shown and "13.99 xxx" in shown and "+two" in shown


async def test_files_are_downloaded_whole_as_attachments_in_a_sandbox(world: World, run: str) -> None:
    [html, _] = (await asked(world, f"/api/v1/executions/{run}/artifacts")).json()["items"]
    file = await asked(world, html["url"])
    assert (file.content, file.headers["content-length"]) == (PAGE, str(len(PAGE)))
    assert file.headers["content-type"] == "application/octet-stream"
    assert file.headers["content-disposition"] == "attachment; filename*=utf-8''a%20%22b%22%20%C5%BC.html"
    assert file.headers["x-content-type-options"] == "nosniff" and "sandbox" in file.headers["content-security-policy"]
    raw = await page(world, f"/executions/{run}/output.txt")
    assert (raw.text, raw.headers["content-disposition"]) == ("as it came\n", f'attachment; filename="{run}.txt"')


async def test_a_socket_tells_moved_lines(world: World, run: str) -> None:
    async with serving(world.app) as url, Door(world=world, url=url).person() as ear:
        await ear.watch(run, after=0, log=1000)
        assert await ear.lines(up_to=1400) == list(range(1001, 1401))


async def test_while_the_store_is_away_each_door_says_so(world: World, run: str, blobs: Blobs) -> None:
    blobs.far = Objects(address("http://127.0.0.1:9"), answer_s=0.5, read_s=0.5)
    files = (await asked(world, f"/api/v1/executions/{run}/artifacts")).json()["items"]
    for path in (f"/api/v1/executions/{run}/logs", *(file["url"] for file in files)):
        answer = await asked(world, path)
        told = answer.json()
        assert (answer.status_code, told["code"], told["detail"]) == (503, "storage_unavailable", AWAY)
    assert (await page(world, f"/executions/{run}/output.txt")).status_code == 503
    assert (await page(world, f"/executions/{run}/log.txt")).status_code == 503
    shown = await page(world, f"/executions/{run}")
    assert shown.status_code == 200 and shown.text.count(AWAY) == 2
    async with serving(world.app) as url, Door(world=world, url=url).person() as ear:
        await ear.watch(run, after=0, log=0)
        error = (await ear.until("error"))[-1]
        assert (error["code"], error["message"]) == ("storage_unavailable", AWAY)
        assert await ear.closed() == 1013


async def test_a_log_that_is_gone_is_no_empty_log(world: World, run: str, bucket: Address) -> None:
    world.app.state.parts.blobs.far = Objects(replace(bucket, prefix="else"))
    answer = await asked(world, f"/api/v1/executions/{run}/logs")
    assert (answer.status_code, answer.json()["code"]) == (404, "log_part_gone")
    assert "are not in the object store" in (await page(world, f"/executions/{run}")).text


async def test_once_retention_took_them_it_is_said_as_ever(world: World, run: str) -> None:
    mine = sa.update(executions).where(executions.c.id == run)
    await world.house.db.write(lambda tx: tx.execute(mine.values(logs_deleted_at=tx.now())))
    assert (await page(world, f"/executions/{run}/log.txt")).status_code == 404
    assert "Deleted by retention" in (await page(world, f"/executions/{run}")).text
