"""Spans of what a process committed: who is in whose trace, what ended badly, and what is never in them."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from control import events
from control.events import Event
from control.executions import intake, queue
from control.executions.states import Cause
from control.tables import executions
from kit import traces
from kit.bus import Bus
from kit.db import Tx
from kit.db_heard import Heard
from kit.errors import Unsuitable
from kit.traces import Context, Span
from preloop import spans, tracing
from preloop.database import open_database
from preloop.tracing import Tracer, traced
from tests.control.house import ACCOUNT, FLOW, House
from tests.databases import laid

THEIRS = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
DATA = {"trigger": "webhook"}
RETRIED = FLOW + "retries: {attempts: 1, on: [model_error]}\n"


@dataclass
class Kept:
    """Spans in memory instead of at a collector."""

    spans: list[Span] = field(default_factory=list)
    broken: bool = False
    closed: float | None = None

    def keeps(self, context: Context) -> bool:
        return context.sampled is not False

    def send(self, span: Span) -> None:
        if self.broken:
            raise ValueError("no span can be sent")
        self.spans.append(span)

    def close(self, limit_s: float) -> None:
        self.closed = limit_s

    def __getitem__(self, name: str) -> Span:
        return [span for span in self.spans if span.name == name][-1]


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Heard]:
    heard = Heard(await open_database(tmp_path, laid(tmp_path / "preloop.db"), Bus()))
    yield heard
    await heard.close()


@pytest.fixture
async def house(db: Heard, tmp_path: Path) -> House:
    return await House.build(db, Bus(), tmp_path, RETRIED)


async def test_a_retry_stays_in_its_callers_trace_and_names_what_it_repeats(db: Heard, house: House) -> None:
    kept = Kept()
    async with traced(db, kept):
        first = await house.start(traceparent=THEIRS)
        await house.db.write(lambda tx: queue.claim(tx, "worker"))
        await house.end(first, Cause.MODEL_ERROR)
        again = str((await house.row(first)).retried_by)
        await house.end(again, Cause.CANCELLED)
    assert kept.closed == tracing.LAST_S
    theirs = traces.context("", THEIRS)
    assert {span.context for span in kept.spans} == {theirs}
    runs = [span for span in kept.spans if span.name == "execution process-payment"]
    assert [(run.id, run.parent) for run in runs] == [(spans.root(one), theirs.parent) for one in (first, again)]
    assert [run.links for run in runs] == [(), ((theirs.trace, spans.root(first)),)]
    assert [run.failed for run in runs] == [True, False]
    assert [run.attributes.get("error.type") for run in runs] == ["model_error", None]
    assert kept["set up"].failed and kept["queued"].parent == spans.root(again)


async def test_a_rerun_is_a_trace_of_its_own_that_names_the_one_before(db: Heard, house: House) -> None:
    kept = Kept()
    async with traced(db, kept):
        first = await house.start(traceparent=THEIRS)
        await house.end(first, Cause.CANCELLED)
        again = (await db.write(lambda tx: intake.rerun(tx, ACCOUNT, first, by="test"))).execution_id
        await house.end(again, Cause.CANCELLED)
    run = kept["execution process-payment"]
    assert run.context == Context(trace=traces.trace_of(again))
    assert run.links == ((traces.context("", THEIRS).trace, spans.root(first)),)


async def test_a_persons_no_is_an_end_and_no_error_of_the_tool(db: Heard, house: House) -> None:
    kept = Kept()
    async with traced(db, kept):
        principal = await house.running()
        call = await house.call(principal, amount=1500)
        await house.decide(call, verdict="declined", reason="a reason that nobody else should read")
    tool, wait, run = kept["execute_tool pay"], kept["approval wait"], kept["execution process-payment"]
    assert (tool.failed, tool.attributes["error.type"]) == (False, "declined")
    assert (wait.parent, wait.attributes["preloop.approval.status"]) == (tool.id, "declined")
    assert (run.failed, run.attributes["error.type"]) == (True, "approval_declined")
    assert "tools/call pay" not in {span.name for span in kept.spans}
    assert "nobody else" not in repr(kept.spans) and "alice" not in repr(kept.spans).lower()


async def test_what_an_enrolled_agent_does_is_a_trace_for_each_call(db: Heard, house: House) -> None:
    kept = Kept()
    async with traced(db, kept):
        agent = await house.enroll(await house.running())
        kept.spans.clear()
        for amount in (10, 20):
            call = await house.call(agent, amount=amount)
            assert await house.claim(agent, call)
            await house.settle(call, content=[])
        asked = await house.call(agent, amount=1500)
        await house.decide(asked, verdict="declined", reason="no")
    calls = [span for span in kept.spans if span.name == "execute_tool pay"]
    assert len({span.context.trace for span in calls}) == 3
    assert [span.parent for span in calls] == [None] * 3
    assert {kept["approval wait"].context, kept["execute_tool pay"].context} == {traces.context(asked)}


async def test_what_was_rolled_back_is_in_no_trace(db: Heard, house: House) -> None:
    kept = Kept()
    async with traced(db, kept):
        first = await house.start()

        def twice(tx: Tx) -> None:
            events.append(tx, ACCOUNT, first, "agent.started")
            for _ in range(2):
                tx.execute(executions.insert().values(id=first))

        with pytest.raises(IntegrityError):
            await db.write(twice)
    assert [span.name for span in kept.spans] == ["trigger manual"]


async def test_a_sender_that_breaks_breaks_nothing_else(db: Heard, house: House) -> None:
    async with traced(db, Kept(broken=True)):
        first = await house.start()
        await house.end(first, Cause.CANCELLED)
    assert (await house.row(first)).state == "CANCELLED"


async def test_what_nobody_takes_is_bounded_and_the_oldest_goes(db: Heard) -> None:
    kept, before, more = Kept(), tracing.DROPPED.value(), 7
    tracer = Tracer(db, kept)
    created = Event(stream="", seq=1, type="execution.created", at="2026-11-23T09:00:00Z", data=DATA, hash="")
    tracer.tell((ACCOUNT, replace(created, stream=f"exe_{n}")) for n in range(tracing.WAITING + more))
    await tracer.drain()
    assert len(kept.spans) == tracing.WAITING
    assert kept.spans[0].attributes["preloop.execution.id"] == f"exe_{more}"
    assert tracing.DROPPED.value() - before == more


async def test_what_breaks_inside_comes_out_as_it_is(db: Heard) -> None:
    kept = Kept()
    with pytest.raises(Unsuitable, match="no engine"):
        async with traced(db, kept):
            raise Unsuitable("no_engine", "There is no engine.")
    assert kept.closed is not None
