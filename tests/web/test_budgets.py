"""How budgets stand, over REST and on the command line."""

import dataclasses
from datetime import UTC, datetime
from pathlib import Path

from control.identity.principals import Role
from kit.db import Tx
from ledger import budgets, limits
from ledger.limits import Charge, Limit, Limits, Period, budget
from tests.control.house import ACCOUNT
from tests.preloop.terminal import Terminal
from tests.serving import serving
from tests.web.world import World


def now(period: Period) -> str:
    return limits.window(period, datetime.now(UTC))


async def spend(world: World) -> None:
    """Of a run, of a flow today, and of the same flow long ago."""
    flow = budget("flow", "pay", 10**9, period="month", window=now("month"))
    past = budget("flow", "pay", 10**9, period="month", window="2020-01")
    run = budget("run", "exe_1", 2_000_000_000)

    def unit(tx: Tx) -> None:
        charges = (
            Charge(budget=flow, spent_nano=10**9, held_nano=0),
            Charge(budget=past, spent_nano=7, held_nano=0),
            Charge(budget=run, spent_nano=250_000_000, held_nano=50_000_000),
        )
        budgets.charge(tx, "jnl_1", [(ACCOUNT, charge) for charge in charges])

    await world.house.db.write(unit)


async def test_budgets_that_count_now_are_listed_with_how_they_stand(world: World) -> None:
    await spend(world)
    http = world.program(await world.token(Role.VIEWER, "api"))
    flow, run = (await http.get("/api/v1/budgets")).json()["items"]
    assert (flow["scope"], flow["subject"], flow["period"], flow["kind"]) == ("flow", "pay", "month", "hard")
    assert (flow["limit_usd"], flow["spent_usd"], flow["reached"]) == ("1.00", "1.00", True)
    assert flow["since"] == f"{now('month')}-01T00:00:00Z"
    assert (run["scope"], run["subject"], run["since"], run["until"]) == ("run", "exe_1", None, None)
    assert (run["limit_usd"], run["spent_usd"], run["held_usd"], run["reached"]) == ("2.00", "0.25", "0.05", False)
    assert (await http.get("/api/v1/budgets?scope=run&subject=exe_1")).json()["items"] == [run]
    assert (await http.get("/api/v1/budgets?scope=run&subject=exe_2")).json()["items"] == []


async def test_what_the_settings_name_is_there_before_its_first_call(world: World) -> None:
    world.app.state.parts = dataclasses.replace(
        world.app.state.parts,
        limits=Limits(
            [
                Limit(scope="account", period="day", limit_nano=5 * 10**9),
                Limit(scope="flow", period="day", limit_nano=1),
            ]
        ),
    )
    http = world.program(await world.token(Role.VIEWER, "api"))
    for _ in range(2):
        (one,) = (await http.get("/api/v1/budgets")).json()["items"]
        assert (one["scope"], one["limit_usd"], one["spent_usd"]) == ("account", "5.00", "0.00")


async def test_the_command_lists_them(world: World, tmp_path: Path) -> None:
    await spend(world)
    token = await world.token(Role.VIEWER, "api")
    async with serving(world.app) as url:
        terminal = Terminal(folder=tmp_path).at(url=url, token=token)
        shown = await terminal.run("budgets", "list")
        told = await terminal.run("budgets", "list", "--scope", "run", "--json")
    assert shown.code == 0
    flow = next(line for line in shown.out.splitlines() if "pay" in line)
    assert flow.split() == ["flow", "pay", "month", "hard", "1.00", "1.00", "0.00", "reached"]
    assert [item["subject"] for item in told.json] == ["exe_1"]
