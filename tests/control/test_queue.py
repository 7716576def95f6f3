"""The queue: fair claims, leases with epochs, adoption, and what the clock ends."""

from collections import Counter
from datetime import timedelta
from typing import Any

import anyio
import sqlalchemy as sa

from control.executions import figures, lifecycle, queue
from control.executions.states import Cause
from control.tables import accounts, executions
from tests.control.house import ACCOUNT, FLOW, House


async def claim(house: House, owner: str = "w1") -> Any:
    return await house.db.write(lambda tx: queue.claim(tx, owner))


async def backdate(house: House, execution_id: str, **ago: timedelta) -> None:
    row = await house.row(execution_id)
    values = {name: getattr(row, name) - by for name, by in ago.items()}
    mine = executions.c.id == execution_id
    await house.db.write(lambda tx: tx.execute(sa.update(executions).where(mine).values(values)))


async def test_the_oldest_comes_first_and_the_flow_s_limit_holds(house: House) -> None:
    ids = [await house.start() for _ in range(5)]
    claimed = [row.id for _ in range(5) if (row := await claim(house))]
    assert claimed == ids[:3]
    assert (await house.row(ids[3])).state == "PENDING"


async def test_a_flow_at_its_limit_does_not_hold_up_another(house: House) -> None:
    await house.apply(FLOW.replace("process-payment", "other"))
    for _ in range(4):
        await house.start()
    other = await house.start("other")
    claimed = [row.flow_name for _ in range(5) if (row := await claim(house))]
    assert Counter(claimed) == {"process-payment": 3, "other": 1}
    assert (await house.row(other)).state == "RUNNING"


async def test_the_account_s_slots_are_never_exceeded_by_many_workers(house: House) -> None:
    await house.db.write(lambda tx: tx.execute(sa.update(accounts).values(slots=2)))
    for _ in range(6):
        await house.start()
    claimed: list[str] = []

    async def worker(name: str) -> None:
        for _ in range(3):
            row = await claim(house, name)
            claimed.extend([row.id] if row else [])

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(worker, f"w{number}")
    assert len(claimed) == len(set(claimed)) == 2


async def test_a_lost_lease_is_adopted_with_the_next_epoch_and_the_old_owner_is_fenced(house: House) -> None:
    execution_id = await house.start()
    row = await claim(house, "w1")
    assert await house.db.write(lambda tx: queue.adopt(tx, "w2", ["process:x"])) is None
    await backdate(house, execution_id, lease_until=queue.LEASE + timedelta(seconds=1))
    adopted = await house.db.write(lambda tx: queue.adopt(tx, "w2", ["process:x"]))
    assert adopted
    assert (adopted.id, adopted.epoch) == (execution_id, row.epoch + 1)
    assert await house.db.write(lambda tx: queue.heartbeat(tx, execution_id, "w1", row.epoch)) is None
    assert not await house.db.write(lambda tx: house.lifecycle.end(tx, execution_id, None, epoch=row.epoch))
    assert await house.db.write(lambda tx: house.lifecycle.end(tx, execution_id, None, epoch=adopted.epoch))


async def test_what_is_refused_to_a_former_holder_is_counted(house: House) -> None:
    execution_id = await house.start()
    row = await claim(house, "w1")
    await backdate(house, execution_id, lease_until=queue.LEASE + timedelta(seconds=1))
    writes = ("heartbeat", "log", "verdict")

    async def write(owner: str, epoch: int) -> dict[str, float]:
        before = {name: figures.REFUSED.value(name) for name in writes}
        await house.db.write(lambda tx: queue.heartbeat(tx, execution_id, owner, epoch))
        await house.db.write(lambda tx: queue.held(tx, execution_id, epoch))
        await house.db.write(lambda tx: house.lifecycle.end(tx, execution_id, Cause.AGENT_ERROR, epoch=epoch))
        return {name: figures.REFUSED.value(name) - before[name] for name in writes}

    adopted = await house.db.write(lambda tx: queue.adopt(tx, "w2", ["process:x"]))
    assert adopted
    assert await write("w1", row.epoch) == dict.fromkeys(writes, 1)
    assert await write("w2", adopted.epoch) == dict.fromkeys(writes, 0)


async def test_a_worker_that_adopted_its_own_lost_run_fences_its_former_self(house: House) -> None:
    execution_id = await house.start()
    row = await claim(house, "w1")
    await backdate(house, execution_id, lease_until=queue.LEASE + timedelta(seconds=1))
    assert await house.db.write(lambda tx: queue.adopt(tx, "w1", ["process:x"]))
    assert await house.db.write(lambda tx: queue.heartbeat(tx, execution_id, "w1", row.epoch)) is None
    assert await house.db.write(lambda tx: queue.heartbeat(tx, execution_id, "w1", row.epoch + 1))


async def test_what_an_agent_told_a_former_holder_is_not_written(house: House) -> None:
    execution_id = await house.start()
    row = await claim(house)
    await backdate(house, execution_id, lease_until=queue.LEASE + timedelta(seconds=1))
    adopted = await house.db.write(lambda tx: queue.adopt(tx, "w2", ["process:x"]))
    assert adopted
    for epoch, written in ((row.epoch, False), (adopted.epoch, True)):
        started = await house.db.write(lambda tx, e=epoch: house.lifecycle.started(tx, execution_id, e))  # type: ignore[misc]
        ended = await house.db.write(lambda tx, e=epoch: house.lifecycle.agent_ended(tx, execution_id, e, 0))  # type: ignore[misc]
        assert (started, ended) == (written, written)


async def test_nobody_adopts_what_runs_on_an_engine_they_can_t_reach(house: House) -> None:
    execution_id = await house.start()
    await claim(house)
    mine = executions.c.id == execution_id
    place = sa.update(executions).where(mine).values(engine="docker:elsewhere")
    await house.db.write(lambda tx: tx.execute(place))
    await backdate(house, execution_id, lease_until=queue.LEASE + timedelta(seconds=1))
    assert await house.db.write(lambda tx: queue.adopt(tx, "w2", ["docker:here"])) is None


async def test_two_minutes_without_adoption_is_runner_lost(house: House) -> None:
    execution_id = await house.start()
    await claim(house)
    await backdate(house, execution_id, lease_until=queue.LEASE + timedelta(seconds=60))
    assert await house.db.write(lambda tx: queue.sweep(tx, house.lifecycle)) == 0
    await backdate(house, execution_id, lease_until=timedelta(seconds=61))
    assert await house.db.write(lambda tx: queue.sweep(tx, house.lifecycle)) == 1
    row = await house.row(execution_id)
    assert (row.state, row.cause) == ("FAILED", "runner_lost")


async def test_a_cancelled_pending_execution_is_never_claimed(house: House) -> None:
    execution_id = await house.start()
    await house.db.write(lambda tx: lifecycle.cancel(tx, ACCOUNT, execution_id, by="test"))
    assert await claim(house) is None
    await house.db.write(lambda tx: queue.withdraw(tx, house.lifecycle))
    assert (await house.row(execution_id)).state == "CANCELLED"


async def test_waiting_for_a_person_does_not_count_as_active_time(house: House) -> None:
    principal = await house.running()
    execution_id = principal.execution_id or ""
    call = await house.call(principal)
    hour = timedelta(hours=1)
    await backdate(house, execution_id, claimed_at=hour, waiting_since=hour)
    assert await house.db.write(queue.overdue) == 0
    await house.decide(call)
    assert (await house.row(execution_id)).waited_ms >= 3_600_000
    assert await house.db.write(queue.overdue) == 0
    await backdate(house, execution_id, claimed_at=timedelta(minutes=31))
    assert await house.db.write(queue.overdue) == 1
    assert (await house.row(execution_id)).stop_intent == Cause.TIMEOUT


async def test_a_success_needs_every_approval_closed(house: House) -> None:
    principal = await house.running()
    await house.call(principal)
    assert not await house.db.write(lambda tx: house.lifecycle.end(tx, principal.execution_id or "", None))
    assert (await house.row(principal.execution_id)).state == "RUNNING"


async def test_final_is_final(house: House) -> None:
    execution_id = await house.start()
    await claim(house)
    ends = [Cause.CANCELLED, None, Cause.TIMEOUT, Cause.AGENT_ERROR]
    won = [await house.end(execution_id, cause) for cause in ends]
    assert won == [True, False, False, False]
    assert (await house.row(execution_id)).state == "CANCELLED"
