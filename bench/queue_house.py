"""A queue to be shown: a house with so many slots and twenty flows of three limits, and executions that wait in it."""

from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from control.tables import accounts, executions
from kit.bus import Bus
from kit.db import Tx
from kit.ids import new_id
from preloop.database import open_database
from tests.control.house import House

FLOWS, LIMITS = 20, (1, 5, 20)
FLOW = """
version: 1
name: flow-{number}
agent: {{runtime: scripted, model: default}}
triggers: [{{type: manual}}]
prompt: Count.
limits: {{concurrency: {limit}}}
"""


def limit(number: int) -> int:
    return LIMITS[number % len(LIMITS)]


async def open_house(folder: Path, url: str | None, slots: int) -> House:
    """Its database is to be closed by whoever opened it."""
    bus = Bus()
    house = await House.build(await open_database(folder, url, bus), bus, folder)
    await house.db.write(lambda tx: tx.execute(sa.update(accounts).values(slots=slots)))
    for number in range(FLOWS):
        await house.apply(FLOW.format(number=number, limit=limit(number)))
    return house


async def enqueue(house: House, name: str, count: int, offset: int) -> None:
    """Copies of one that was really started, each a moment after the one before."""
    like = (await house.row(await house.start(name)))._asdict()
    born = like["created_at"] - timedelta(hours=1) + timedelta(seconds=offset)
    rows = [like | {"id": new_id("exe"), "created_at": born + timedelta(milliseconds=n)} for n in range(count)]

    def unit(tx: Tx) -> None:
        tx.execute(sa.delete(executions).where(executions.c.id == like["id"]))
        tx.execute(sa.insert(executions), rows)

    await house.db.write(unit)
