"""Secrets of webhooks: the one there is and, for a day, the one before it."""

from datetime import timedelta

import anyio
import pytest
import sqlalchemy as sa

from control.flows import hook_secrets
from control.tables import flows, senders
from kit.clock import Clock
from kit.db import Database, Tx
from kit.errors import Invalid, Missing
from tests.control.house import ACCOUNT, House

OWN = "whsec_bXkgb3duIHNlY3JldCBvZiAyNCBieXRlcyE="


async def rotate(house: House, kind: str = "github", at_once: bool = False, given: str | None = None) -> str:
    def unit(tx: Tx) -> hook_secrets.Rotated:
        return hook_secrets.rotate_sender(
            tx, ACCOUNT, kind, sealer=house.sealer, by="test", at_once=at_once, given=given
        )

    return (await house.db.write(unit)).secret


async def valid(house: House, kind: str = "github", later: timedelta = timedelta()) -> list[str]:
    sealed = await hook_secrets.of_sender(house.db, ACCOUNT, kind, Clock().now() + later)
    return [house.sealer.unseal(one) for one in sealed]


async def test_each_sender_has_its_own_and_none_before_the_first(house: House) -> None:
    assert await valid(house) == []
    first = await rotate(house)
    other = await rotate(house, "gitlab", given=OWN)
    assert (await valid(house), await valid(house, "gitlab")) == ([first], [other])
    assert other == OWN
    kept = await house.db.read(sa.select(senders.c.secret))
    assert not any(row.secret.startswith("whsec_") for row in kept)


async def test_the_one_before_is_good_for_a_day_and_ends_at_once_on_wish(house: House) -> None:
    first, second = await rotate(house), await rotate(house)
    assert await valid(house) == [second, first]
    assert await valid(house, later=timedelta(hours=23)) == [second, first]
    assert await valid(house, later=timedelta(hours=25)) == [second]
    third = await rotate(house)
    assert await valid(house) == [third, second]
    fourth = await rotate(house, at_once=True)
    assert await valid(house) == [fourth]


async def test_two_first_secrets_at_once_are_the_newer_and_the_one_before(house: House, twin: Database) -> None:
    made: list[str] = []

    async def one(database: Database) -> None:
        unit = hook_secrets.rotate_sender
        rotated = await database.write(lambda tx: unit(tx, ACCOUNT, "github", sealer=house.sealer, by="test"))
        made.append(rotated.secret)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(one, house.db)
        tasks.start_soon(one, twin)
    assert sorted(await valid(house)) == sorted(made)


async def test_a_flow_s_secret_rotates_the_same_way(house: House) -> None:
    async def of_flow(name: str = "process-payment") -> list[str]:
        sealed = await hook_secrets.of_flow(house.db, ACCOUNT, name, Clock().now())
        return [house.sealer.unseal(one) for one in sealed]

    [first] = await of_flow()
    unit = hook_secrets.rotate
    second = await house.db.write(lambda tx: unit(tx, ACCOUNT, "process-payment", sealer=house.sealer, by="test"))
    assert await of_flow() == [second.secret, first]
    assert await of_flow("no-such-flow") == []
    row = (await house.db.read(sa.select(flows.c.hook_before_until)))[0]
    assert row.hook_before_until == second.before_until
    with pytest.raises(Missing, match="no flow 'nope'"):
        await house.db.write(lambda tx: unit(tx, ACCOUNT, "nope", sealer=house.sealer, by="test"))


@pytest.mark.parametrize("given", ["hunter2", "whsec_", "whsec_c2hvcnQ=", "whsec_!!!", OWN.removeprefix("whsec_")])
async def test_a_weak_or_unreadable_secret_of_somebody_else_is_refused(house: House, given: str) -> None:
    with pytest.raises(Invalid):
        await rotate(house, given=given)
    assert await valid(house) == []
