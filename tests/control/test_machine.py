"""Executions among everybody who may touch them: a state machine over SQLite, the same crowd at once on both."""

import asyncio
import random
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import anyio
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from control.executions.states import MOVES, Cause, Stored, may_move
from kit.bus import Bus
from kit.db import Database
from preloop.database import open_database
from tests.control.machine import Floor
from tests.databases import laid

CAUSES = [None, Cause.AGENT_ERROR, Cause.TIMEOUT, Cause.CANCELLED]
OWNERS = ["w1", "w2"]
ANY = st.integers(min_value=0, max_value=1000)
CROWD, STEPS = 6, 25


class Machine(RuleBasedStateMachine):
    """One actor after the other, in any order."""

    @initialize()
    def open(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.Runner()
        self.floor = self.does(self._open())

    async def _open(self) -> Floor:
        folder, bus = Path(self.folder.name), Bus()
        self.db = await open_database(folder, laid(folder / "preloop.db"), bus)
        floor = await Floor.open(self.db, bus, folder)
        for owner in OWNERS:
            await floor.event()
            await floor.claim(owner)
            await floor.ask(floor.ids[-1])
        return floor

    def does(self, what: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run(what)

    def teardown(self) -> None:
        self.does(self.db.close())
        self.loop.close()
        self.folder.cleanup()

    @rule()
    def event(self) -> None:
        self.does(self.floor.event())

    @rule(owner=st.sampled_from(OWNERS))
    def claim(self, owner: str) -> None:
        self.does(self.floor.event())
        self.does(self.floor.claim(owner))

    @rule(owner=st.sampled_from(OWNERS))
    def adopt(self, owner: str) -> None:
        self.does(self.floor.pass_time(1))
        self.does(self.floor.adopt(owner))

    @rule(number=ANY)
    def heartbeat(self, number: int) -> None:
        self.does(self.floor.heartbeat(self.floor.grips[number % len(self.floor.grips)]))

    @rule(number=ANY, cause=st.sampled_from(CAUSES))
    def verdict(self, number: int, cause: Cause | None) -> None:
        self.does(self.floor.verdict(self.floor.grips[number % len(self.floor.grips)], cause))

    @rule(number=ANY, cause=st.sampled_from(CAUSES))
    def end(self, number: int, cause: Cause | None) -> None:
        self.does(self.floor.end(self.floor.ids[number % len(self.floor.ids)], cause))

    @rule(number=ANY)
    def ask(self, number: int) -> None:
        ids = sorted(self.floor.principals)
        self.does(self.floor.ask(ids[number % len(ids)]))

    @rule(number=ANY, verdict=st.sampled_from(["approved", "declined"]))
    def decide(self, number: int, verdict: str) -> None:
        self.does(self.floor.decide(number, verdict))

    @rule(number=ANY)
    def cancel(self, number: int) -> None:
        self.does(self.floor.cancel(self.floor.ids[number % len(self.floor.ids)]))

    @rule(minutes=st.sampled_from([3, 11, 45, 24 * 60]))
    def time_passes(self, minutes: int) -> None:
        self.does(self.floor.pass_time(minutes))

    @rule()
    def clock(self) -> None:
        self.does(self.floor.clock())

    @rule()
    def sweep(self) -> None:
        self.does(self.floor.sweep())

    @invariant()
    def sound(self) -> None:
        self.does(self.floor.check())


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_the_table_has_every_pair() -> None:
    allowed = {(source, target) for source in Stored for target in Stored if may_move(source, target)}
    ends = {Stored.SUCCEEDED, Stored.FAILED, Stored.TIMEOUT, Stored.CANCELLED}
    assert allowed == {
        (Stored.PENDING, Stored.RUNNING),
        (Stored.PENDING, Stored.FAILED),
        (Stored.PENDING, Stored.CANCELLED),
        *((Stored.RUNNING, end) for end in ends),
    }
    assert set(MOVES) == set(Stored)
    assert not may_move(Stored.RUNNING, Stored.SUCCEEDED, open_approvals=1)


async def test_a_crowd_at_once_leaves_everything_sound(db: Database, bus: Bus, tmp_path: Path) -> None:
    floor = await Floor.open(db, bus, tmp_path)
    for _ in range(4):
        await floor.event()
    await floor.claim("w1")

    async def actor(dice: random.Random) -> None:
        for _ in range(STEPS):
            await something(floor, dice)

    for seed in range(3):
        async with anyio.create_task_group() as tasks:
            for number in range(CROWD):
                tasks.start_soon(actor, random.Random(seed * CROWD + number))
        await floor.check()
        await floor.pass_time(11)
    assert floor.endings.total() > 0


async def something(floor: Floor, dice: random.Random) -> None:
    owner, number = dice.choice(OWNERS), dice.randrange(1000)
    id_ = dice.choice(floor.ids)
    grip = dice.choice(floor.grips)
    cause = dice.choice(CAUSES)
    asker = dice.choice(sorted(floor.principals) or [id_])
    acts: list[Any] = [
        floor.event,
        lambda: floor.claim(owner),
        lambda: floor.claim(owner),
        lambda: floor.adopt(owner),
        lambda: floor.heartbeat(grip),
        lambda: floor.verdict(grip, cause),
        lambda: floor.ask(asker),
        lambda: floor.ask(asker),
        lambda: floor.decide(number, "approved"),
        lambda: floor.decide(number, "declined"),
        lambda: floor.cancel(id_),
        floor.clock,
        floor.sweep,
    ]
    await dice.choice(acts)()
