"""A worker whose database does not answer for a while: it looks again, and what it serves beside goes on."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import anyio
import sqlalchemy as sa
from sqlalchemy.engine import Row

from kit.db import Database, Lane, Unit
from runner.worker import Worker
from tests.runner.station import open_station
from tests.waiting import until

T = TypeVar("T")


@dataclass(kw_only=True)
class Line:
    """The way to a database, which may be cut."""

    db: Database
    cut: bool = False
    refused: Counter[str] = field(default_factory=Counter)

    async def write(self, unit: Unit[T], *, lane: Lane = Lane.DECISIONS) -> T:
        self._pass("write")
        return await self.db.write(unit, lane=lane)

    async def read(self, statement: sa.Executable, parameters: Mapping[str, Any] | None = None) -> Sequence[Row[Any]]:
        self._pass("read")
        return await self.db.read(statement, parameters)

    async def hear(self) -> None:
        await self.db.hear()

    async def close(self) -> None:
        await self.db.close()

    def _pass(self, what: str) -> None:
        if self.cut:
            self.refused[what] += 1
            raise OSError("the database is away")


async def test_a_worker_outlives_a_database_that_is_away_and_claims_when_it_is_back(tmp_path: Path) -> None:
    async with open_station(tmp_path) as station:
        line = Line(db=station.db)
        runs = await station.house.start()
        worker = Worker(replace(station.parts, db=line), poll_s=0.05)
        station.tasks.start_soon(worker.work)
        with anyio.fail_after(30):
            await worker.adopted.wait()
        await station.agent(runs)

        async def refused() -> bool:
            return line.refused["read"] > 1 and line.refused["write"] > 1

        line.cut = True
        waits = await station.house.start()
        await until(refused, 30, what="both kinds of questions to be refused more than once")
        assert (await station.house.row(waits)).state == "PENDING"
        line.cut = False
        await station.running(waits)
        assert (await station.house.row(runs)).state == "RUNNING"
