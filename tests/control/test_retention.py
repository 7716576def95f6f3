"""Content goes by age and by bytes; the execution's row, its record and costs stay, and the record says what went."""

import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from control import events
from control.approvals import attest
from control.executions import intake, logs, storage
from control.executions.states import Cause
from control.executions.storage import Kind
from control.identity.principals import Principal
from control.retention import deletion
from control.retention.rules import Rules
from control.tables import accounts, executions, log_chunks, storage_use, tool_calls
from kit.blobs import Blobs
from kit.db import Tx
from kit.errors import Conflict, Invalid
from tests.control.house import ACCOUNT, House

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LINES = [("2026-11-22T10:00:00.000000Z", "agent", "info", "x" * 1000)]


@pytest.fixture
def blobs(house: House) -> Blobs:
    return house.blobs


async def run_of(house: House, *, days: float, chunks: int = 1, **asked: Any) -> tuple[Principal, str]:
    """An execution that made one approved call and ended so many days before NOW: (its principal, the call)."""
    principal = await house.gated()
    id_ = principal.execution_id or ""
    call = await house.call(principal, **asked)
    await house.decide(call, reason="it is due")
    await house.claim(principal, call)
    await house.settle(call, content=[{"type": "text", "text": "paid"}])
    for _ in range(chunks):
        await house.db.write(lambda tx: logs.append(tx, ACCOUNT, id_, LINES))
    await house.end(id_, None)
    await ended(house, id_, NOW - timedelta(days=days))
    return principal, call


async def ended(house: House, execution_id: str, at: datetime) -> None:
    mine = sa.update(executions).where(executions.c.id == execution_id)
    await house.db.write(lambda tx: tx.execute(mine.values(ended_at=at)))


async def deletes(house: House, blobs: Blobs, now: datetime = NOW, **rules: int) -> int:
    await storage.count(house.db)
    return await deletion.delete_due(house.db, blobs, Rules(**rules), now)


async def chunks_of(house: House, principal: Principal) -> int:
    mine = log_chunks.c.execution_id == principal.execution_id
    return int((await house.db.read(sa.select(sa.func.count()).where(mine)))[0][0])


async def told(house: House, stream: str | None) -> list[dict[str, Any]]:
    return [e.data for e in await events.read(house.db, ACCOUNT, stream or "") if e.type == "content.deleted"]


async def whole(house: House, *streams: str | None) -> bool:
    return not [one for one in streams if (await events.inspect(house.db, ACCOUNT, one or "")).broken]


async def test_without_rules_nothing_ever_goes(house: House, blobs: Blobs) -> None:
    principal, _ = await run_of(house, days=4000)
    assert await deletes(house, blobs) == 0
    assert (await chunks_of(house, principal), await told(house, principal.execution_id)) == (3, [])


async def test_each_class_goes_by_its_own_age(house: House, blobs: Blobs) -> None:
    principal, call = await run_of(house, days=10)
    id_ = principal.execution_id or ""
    await blobs.put(logs.file_of(id_), b"raw")
    before = await house.row(id_)

    assert await deletes(house, blobs, logs_days=11, payloads_days=11, results_days=11) == 0
    assert await blobs.get(logs.file_of(id_)) == b"raw"

    assert await deletes(house, blobs, logs_days=9, payloads_days=11, results_days=11) == 1
    row = await house.row(id_)
    assert row.logs_deleted_at and not row.payload_deleted_at and not row.results_deleted_at
    assert (await chunks_of(house, principal), await blobs.get(logs.file_of(id_))) == (0, None)
    assert await told(house, id_) == [{"kind": "logs", "why": "logs_days = 9"}]

    assert await deletes(house, blobs, payloads_days=9) == 1
    row = await house.row(id_)
    assert (json.loads(row.trigger_event), row.prompt) == (None, "")
    assert (await house.call_row(call)).args

    assert await deletes(house, blobs, results_days=9) == 1
    made = await house.call_row(call)
    assert (made.args, made.result, made.context, made.approved_args) == ("", None, None, None)
    assert made.deleted_at and made.digest and made.tool == "pay"
    row = await house.row(id_)
    assert (row.state, row.ended_at, row.flow_name) == (before.state, before.ended_at, before.flow_name)
    assert [one["kind"] for one in await told(house, id_)] == ["logs", "payloads", "results"]


async def test_the_record_verifies_afterwards_and_a_call_emptied_by_hand_does_not(house: House, blobs: Blobs) -> None:
    principal, _ = await run_of(house, days=10)
    other, kept = await run_of(house, days=1, amount=1700)
    assert await deletes(house, blobs, logs_days=5, payloads_days=5, results_days=5) == 3
    assert await whole(house, principal.execution_id, other.execution_id)
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared(absent=1)
    emptied = sa.update(tool_calls).where(tool_calls.c.id == kept).values(args="", deleted_at=NOW)
    await house.db.write(lambda tx: tx.execute(emptied))
    found = await attest.compare(house.db, ACCOUNT)
    assert found == attest.Compared(unlike={(await house.approval(kept)).id: ("arguments",)}, absent=1)


async def test_calls_of_an_enrolled_agent_go_by_their_own_age(house: House, blobs: Blobs) -> None:
    agent = await house.enroll(await house.gated())
    old, new = [await house.call(agent, amount=amount) for amount in (1500, 1600)]
    for call in (old, new):
        await house.decide(call)
        await house.claim(agent, call)
        await house.settle(call, content=[])
    past = sa.update(tool_calls).where(tool_calls.c.id == old)
    await house.db.write(lambda tx: tx.execute(past.values(settled_at=NOW - timedelta(days=40))))
    now_ = sa.update(tool_calls).where(tool_calls.c.id == new).values(settled_at=NOW)
    await house.db.write(lambda tx: tx.execute(now_))
    await deletes(house, blobs, results_days=30)
    assert ((await house.call_row(old)).args, bool((await house.call_row(new)).args)) == ("", True)
    assert await told(house, agent.session_id) == [{"kind": "results", "why": "results_days = 30", "calls": [old]}]
    assert await attest.compare(house.db, ACCOUNT) == attest.Compared(absent=1)


async def test_what_runs_or_ended_within_the_hour_is_never_touched(house: House, blobs: Blobs) -> None:
    principal, _ = await run_of(house, days=1 / 48)
    running = await house.gated()
    await house.db.write(lambda tx: logs.append(tx, ACCOUNT, running.execution_id or "", LINES))
    assert await deletes(house, blobs, keep=1) == 0
    assert await deletes(house, blobs, NOW + timedelta(days=4000), keep=1, logs_days=1) == 3
    assert (await chunks_of(house, principal), await chunks_of(house, running)) == (0, 1)
    assert (await house.row(running.execution_id)).logs_deleted_at is None


async def test_by_bytes_the_oldest_goes_first_until_the_account_is_below(house: House, blobs: Blobs) -> None:
    runs = [(await run_of(house, days=days, amount=1500 + days))[0] for days in (4, 3, 2, 1)]
    await storage.count(house.db)
    full = (await storage.usage(house.db, ACCOUNT)).total
    each = full // 4
    assert await deletes(house, blobs, keep=full) == 0
    assert await deletes(house, blobs, keep=full - each - each // 2) == 6
    gone = [bool((await house.row(run.execution_id)).logs_deleted_at) for run in runs]
    assert gone == [True, True, False, False]
    assert (await storage.usage(house.db, ACCOUNT)).total <= full - 2 * each + 20
    assert await deletes(house, blobs, keep=full - each - each // 2) == 0
    assert await deletes(house, blobs, keep=each + each // 2) == 3


async def test_a_log_of_many_chunks_goes_in_units_of_500_rows(house: House, blobs: Blobs) -> None:
    principal, _ = await run_of(house, days=10, chunks=1100)
    sizes: list[int] = []

    class Counting:
        def __init__(self) -> None:
            self.read, self.hear, self.close = house.db.read, house.db.hear, house.db.close

        async def write(self, unit: Any, **more: Any) -> Any:
            before = await chunks_of(house, principal)
            found = await house.db.write(unit, **more)
            sizes.append(before - await chunks_of(house, principal))
            return found

    await storage.count(house.db)
    assert await deletion.delete_due(Counting(), blobs, Rules(keep=1), NOW) == 3
    assert await chunks_of(house, principal) == 0
    assert max(sizes) <= deletion.ROWS
    assert sum(size > 0 for size in sizes) == 3


async def test_a_pass_that_was_cut_short_is_finished_by_the_next(house: House, blobs: Blobs) -> None:
    """By bytes too: what was begun is below `keep` in the meter already."""
    principal, _ = await run_of(house, days=10, chunks=1100)
    await storage.count(house.db)
    sweep = deletion._Pass(house.db, blobs, ACCOUNT, Rules(keep=1), NOW)
    rows = await house.db.read(sweep._after(None, NOW))
    done = await house.db.write(lambda tx: sweep._drop(tx, rows=rows, kinds=list(storage.DELETED), why="", keep=1))
    assert (done, await chunks_of(house, principal) > 0) == ((0, 3, False), True)
    assert await deletes(house, blobs, keep=1 << 40) == 0
    assert await chunks_of(house, principal) == 0


async def test_a_pass_begins_where_the_last_one_came_to(house: House, blobs: Blobs) -> None:
    await run_of(house, days=10)
    second, _ = await run_of(house, days=8, amount=1600)
    await deletes(house, blobs, logs_days=7)
    [use] = await house.db.read(sa.select(storage_use).where(storage_use.c.kind == "logs"))
    assert use.through == (await house.row(second.execution_id)).ended_at
    third, _ = await run_of(house, days=7.5, amount=1700)
    assert await deletes(house, blobs, logs_days=7) == 1
    assert (await house.row(third.execution_id)).logs_deleted_at


async def test_a_rerun_without_its_event_is_refused_with_a_reason(house: House, blobs: Blobs) -> None:
    principal, _ = await run_of(house, days=10)
    await deletes(house, blobs, payloads_days=9)
    with pytest.raises(Conflict) as caught:
        await house.db.write(lambda tx: intake.rerun(tx, ACCOUNT, principal.execution_id or "", by="test"))
    assert (caught.value.code, "payload" in caught.value.hint) == ("payload_deleted", True)


# the meter ------------------------------------------------------------------------------------------------------------


async def test_the_meter_is_the_sum_of_what_is_kept_and_forgets_what_goes(house: House, blobs: Blobs) -> None:
    principal, call = await run_of(house, days=10)
    await storage.count(house.db)
    row, made = await house.row(principal.execution_id), await house.call_row(call)
    chunks = await house.db.read(sa.select(log_chunks.c.lines))
    use = await storage.usage(house.db, ACCOUNT)
    assert use.by_kind == {
        Kind.LOGS: sum(len(chunk.lines.encode()) for chunk in chunks),
        Kind.PAYLOADS: len((row.trigger_event + row.prompt).encode()),
        Kind.RESULTS: sum(len((getattr(made, name) or "").encode()) for name in storage.CONTENT),
        Kind.BODIES: 0,
    }
    assert (use.limit, await storage.count(house.db)) == (None, 0)
    await deletes(house, blobs, logs_days=1, payloads_days=1, results_days=1)
    assert (await storage.usage(house.db, ACCOUNT)).total == 0


async def test_the_log_of_what_runs_is_in_the_meter_too(house: House) -> None:
    running = await house.gated()
    id_ = running.execution_id or ""
    placed = sa.update(executions).where(executions.c.id == id_).values(job="job", engine="memory")
    await house.db.write(lambda tx: tx.execute(placed))
    await house.db.write(lambda tx: logs.append(tx, ACCOUNT, id_, LINES))
    await storage.count(house.db)
    size = (await storage.usage(house.db, ACCOUNT)).by_kind[Kind.LOGS]
    assert size > 1000
    await house.end(id_, Cause.CANCELLED)
    assert await storage.count(house.db) == 0
    cleaned = sa.update(executions).where(executions.c.id == id_).values(cleaned_at=NOW)
    await house.db.write(lambda tx: tx.execute(cleaned))
    assert await storage.count(house.db) == 1
    assert (await storage.usage(house.db, ACCOUNT)).by_kind[Kind.LOGS] == size


async def test_what_went_before_it_was_counted_is_never_counted(house: House, blobs: Blobs) -> None:
    await run_of(house, days=10)
    await deletion.delete_due(house.db, blobs, Rules(logs_days=1, payloads_days=1, results_days=1), NOW)
    await storage.count(house.db)
    assert (await storage.usage(house.db, ACCOUNT)).total == 0


async def test_a_plan_is_full_at_its_limit_and_not_before(house: House) -> None:
    await run_of(house, days=1)
    await storage.count(house.db)
    use = await storage.usage(house.db, ACCOUNT)
    for limit, wanted in ((None, None), (use.total + 1, None), (use.total, use.total)):
        mine = sa.update(accounts).where(accounts.c.id == ACCOUNT).values(storage_bytes=limit)
        await house.db.write(partial(Tx.execute, statement=mine))
        assert await house.db.write(lambda tx: storage.full(tx, ACCOUNT)) == wanted


# the rules ------------------------------------------------------------------------------------------------------------


async def test_an_admin_s_rules_stand_before_the_file_s_key_by_key(house: House) -> None:
    file = Rules(logs_days=90, payloads_days=90)
    given = {"logs_days": 30, "payloads_days": None, "keep": "10g"}
    await house.db.write(lambda tx: deletion.put(tx, ACCOUNT, given, by="admin@example.com"))
    assert await deletion.in_force(house.db, ACCOUNT, file) == Rules(logs_days=30, keep=10 << 30)
    last = (await events.read(house.db, ACCOUNT, events.ACCOUNT))[-1]
    assert (last.type, last.data["by"], last.data["keep"]) == ("retention.changed", "admin@example.com", 10 << 30)
    await house.db.write(lambda tx: deletion.put(tx, ACCOUNT, {}, by="admin@example.com"))
    assert await deletion.in_force(house.db, ACCOUNT, file) == file


@pytest.mark.parametrize(
    "given",
    [{"logs": 30}, {"logs_days": 0}, {"logs_days": "30"}, {"logs_days": True}, {"keep": 0}, {"keep": "much"},
     {"keep": True}, {"logs_days": 1.5}, {"payloads_days": 10**9}],
)  # fmt: skip
async def test_rules_that_are_none_are_refused_by_name(house: House, given: dict[str, object]) -> None:
    with pytest.raises(Invalid) as caught:
        await house.db.write(lambda tx: deletion.put(tx, ACCOUNT, given, by="admin@example.com"))
    assert (caught.value.code, next(iter(given)) in caught.value.message) == ("retention_invalid", True)
