"""A real plane with an object store behind it: what a real agent printed and left is there, and read through the doors
as ever; when the store is away, nothing that happens meanwhile is lost."""

import hashlib
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.objects import Address, Objects
from tests.journeys.plane import Plane, plane
from tests.s3 import make_bucket, s3
from tests.waiting import until

LINES = 15_000
SECRET = "the-store's-secret-nobody-sees"
PRINTED = "x" * 60
FLOW = {
    "version": 1,
    "agent": {
        "runtime": "command",
        "model": "default",
        "image": "preloop/scripted",
        "command": [
            "sh",
            "-ec",
            f"seq -f '%.0f {PRINTED}' {LINES}; mkdir artifacts; head -c 20000000 /dev/zero > artifacts/zeros",
        ],
    },
    "triggers": [{"type": "manual"}],
    "prompt": "Print much.",
}
ZEROS = hashlib.sha256(bytes(20_000_000)).hexdigest()


def section(store: Address) -> str:
    told = {
        "url": f"s3://{store.bucket}/{store.prefix}",
        "endpoint": store.endpoint,
        "access_key_id": store.access_key_id,
        "secret_access_key": SECRET,
    }
    return "[storage]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items())


async def ran(running: Plane) -> str:
    """An execution that is over, cleaned up and counted."""
    before = (await running.get("/settings"))["account"]["storage"]["by_class"]["results"]
    id_ = await running.trigger("large", {})
    await running.ended(id_)

    async def counted() -> bool:
        used = (await running.get("/settings"))["account"]["storage"]["by_class"]
        return bool(used["results"] >= before + 20_000_000)

    await until(counted, 60, what="the meter")
    return id_


async def names(store: Address, folder: str) -> list[str]:
    return sorted([name async for some in Objects(store).names(folder) for name in some])


async def whole(http: httpx.AsyncClient, id_: str) -> list[dict[str, Any]]:
    """The log as REST pages it."""
    found: list[dict[str, Any]] = []
    while True:
        after = found[-1]["number"] if found else 0
        answer = await http.get(f"/api/v1/executions/{id_}/logs", params={"after": after, "limit": 500})
        page = answer.raise_for_status().json()["items"]
        if not page:
            return found
        found += page


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("postgres_database")) if request.param == "postgresql" else None


@pytest.mark.slow
async def test_what_a_run_printed_and_left_outlives_an_absent_store(tmp_path: Path, database: str | None) -> None:
    with s3() as address:
        store = make_bucket(address)
        async with plane(tmp_path, database=database, more=section(store)) as (running, _):
            await running.apply(
                "\n".join(["name: large", *(f"{key}: {json.dumps(value)}" for key, value in FLOW.items())])
            )
            id_ = await ran(running)
            file = f"results/{id_}/{ZEROS}"
            assert file in await names(store, "results")
            assert await names(store, "logs") == [f"logs/{id_}.txt"]
            async with running.http() as http:
                before = await whole(http, id_)
            await running.stop()
            await running.start()  # what the clock does, it does first at a start
            await until(lambda: moved(store, id_), 30, what="the log to be in the store")
            async with running.http() as http:
                assert await whole(http, id_) == before
                assert sum(line["text"].endswith(PRINTED) for line in before) == LINES
                download = await http.get(f"/api/v1/executions/{id_}/artifacts/artifacts/zeros")
                assert hashlib.sha256(download.content).hexdigest() == ZEROS
                assert SECRET not in (await http.get("/api/v1/settings")).text
            assert not list((running.folder / "blobs").rglob(f"{ZEROS}*"))
            assert SECRET not in "\n".join(running.lines)
    # nobody is there any more
    async with plane(tmp_path, database=database, more=section(store)) as (running, _):
        async with running.http() as http:
            for path in (f"/executions/{id_}/logs", f"/executions/{id_}/artifacts/artifacts/zeros"):
                answer = await http.get(f"/api/v1{path}")
                assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")
            assert (await http.get("/readyz")).status_code == 200
        later = await ran(running)
        async with running.http() as http:
            download = await http.get(f"/api/v1/executions/{later}/artifacts/artifacts/zeros")
            assert hashlib.sha256(download.content).hexdigest() == ZEROS
            assert sum(line["text"].endswith(PRINTED) for line in await whole(http, later)) == LINES


async def moved(store: Address, id_: str) -> bool:
    return len(await names(store, f"logs/{id_}")) > 1
