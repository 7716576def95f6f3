"""What agents left is counted in the account's storage and goes with the class `results`: rows and bytes."""

from pathlib import Path

import sqlalchemy as sa

from control.executions import results, storage
from control.executions.results import Artifact
from control.executions.storage import Kind
from control.retention import deletion
from control.tables import artifacts
from tests.control.house import ACCOUNT, House
from tests.control.test_retention import deletes, run_of, told


async def left(house: House, execution_id: str, *sizes: int) -> Path:
    """Files of these sizes, as their execution left them; where their bytes are."""
    row, found = await house.row(execution_id), []
    for number, size in enumerate(sizes):
        await house.blobs.put(results.file_of(execution_id, f"{number:064}"), bytes(size))
        found.append(Artifact(name=f"artifacts/{number}", size=size, sha256=f"{number:064}"))
    await house.db.write(lambda tx: results.add(tx, row, found))
    return house.blobs.path(results.folder_of(execution_id))


async def rows(house: House) -> int:
    return int((await house.db.read(sa.select(sa.func.count()).select_from(artifacts)))[0][0])


async def test_what_was_left_is_in_the_meter_once_and_leaves_it_with_its_rows_and_bytes(house: House) -> None:
    principal, _ = await run_of(house, days=10)
    id_ = principal.execution_id or ""
    await storage.count(house.db)
    before = (await storage.usage(house.db, ACCOUNT)).by_kind[Kind.RESULTS]
    other, _ = await run_of(house, days=10, amount=1700)
    folder = await left(house, other.execution_id or "", 1000, 500)
    await storage.count(house.db)
    both = (await storage.usage(house.db, ACCOUNT)).by_kind[Kind.RESULTS]
    assert both == 2 * before + 1500

    assert await deletes(house, house.blobs, results_days=11) == 0
    assert (await rows(house), folder.is_dir()) == (2, True)
    assert await deletes(house, house.blobs, results_days=9) == 2
    assert (await rows(house), folder.exists()) == (0, False)
    assert (await storage.usage(house.db, ACCOUNT)).by_kind[Kind.RESULTS] == 0
    assert [one["kind"] for one in await told(house, id_)] == ["results"]


async def test_many_go_in_units_and_other_classes_leave_them(house: House) -> None:
    principal, _ = await run_of(house, days=10)
    await left(house, principal.execution_id or "", *[1] * 700)
    assert await deletes(house, house.blobs, logs_days=9) == 1
    assert await rows(house) == 700
    await deletes(house, house.blobs, results_days=9)
    assert await rows(house) == 0
    assert deletion.ROWS < 700


async def test_by_bytes_they_go_too(house: House) -> None:
    principal, _ = await run_of(house, days=10)
    folder = await left(house, principal.execution_id or "", 5_000_000)
    newer, _ = await run_of(house, days=1, amount=1700)
    kept = await left(house, newer.execution_id or "", 10)
    assert await deletes(house, house.blobs, keep=1_000_000) == 3
    assert (folder.exists(), kept.is_dir()) == (False, True)
    assert not (await house.row(newer.execution_id)).results_deleted_at
