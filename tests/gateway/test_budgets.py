"""Budgets at the gateway: each scope refuses in words, soft ones tell once, processes that share one stay below it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest
import sqlalchemy as sa

from control.identity.accounts import DEFAULT
from ledger import reports
from ledger.limits import budget
from ledger.tables import intents, leases
from tests.gateway.plane import PRICES, Plane, open_plane, script
from tests.gateway.racing import race
from tests.gateway.test_crash import stream_and_kill
from tests.waiting import until

ASK: Any = [{"role": "user", "content": "Go."}]
COST = 60 * 2_500 + 40 * 10_000
"""Nano-dollars of what the scripted model says it used."""


@asynccontextmanager
async def plane_with(
    folder: Path, *budgets: dict[str, str], delay_ms: int = 0, **settings: Any
) -> AsyncIterator[Plane]:
    talk = script(folder, {"say": "There.", "delay_ms": delay_ms, "usage": {"input": 60, "output": 40}})
    models = {
        "default": {"provider": "scripted", "script": talk, **PRICES},
        "free": {"provider": "scripted", "script": talk},
    }
    async with open_plane(folder, models, budgets=budgets, **settings) as plane:
        yield plane


async def ask(plane: Plane, token: str, model: str = "default") -> None:
    await plane.client(token).chat.completions.create(model=model, messages=ASK, max_tokens=40)


@pytest.mark.parametrize(
    ("scope", "whose"),
    [
        ("account", "the account"),
        ("flow", "the flow 'process-payment'"),
        ("principal", "the principal 'agent'"),
        ("alias", "the alias 'default'"),
    ],
)
async def test_a_refusal_says_which_budget_and_how_it_stands(tmp_path: Path, scope: str, whose: str) -> None:
    async with plane_with(tmp_path, {"scope": scope, "period": "day", "limit_usd": "0.001"}) as plane:
        (_, first), (_, second) = await plane.session("default"), await plane.session("default")
        await ask(plane, first)
        await plane.settled()
        with pytest.raises(openai.APIStatusError) as caught:
            await ask(plane, second)
        said = str(caught.value.body)
        assert f"The budget of 0.001 USD a day for {whose} has no room for this call: 0.00055 spent, " in said
        assert "needed" in said
        assert "[[budgets]]" in said


async def test_a_model_without_a_price_is_refused_under_a_soft_budget_too(tmp_path: Path) -> None:
    async with plane_with(tmp_path, {"scope": "account", "limit_usd": "5.00", "kind": "soft"}) as plane:
        _, token = await plane.session("free")
        with pytest.raises(openai.PermissionDeniedError, match=r"no price, and the account counts against a budget"):
            await ask(plane, token, "free")


async def test_a_soft_budget_refuses_nothing_and_tells_once(tmp_path: Path) -> None:
    async with plane_with(tmp_path, {"scope": "account", "limit_usd": "0.001", "kind": "soft"}) as plane:
        session, token = await plane.session("default")
        for _ in range(4):
            await ask(plane, token)
            await plane.settled()
        told = [data for type_, data in await plane.events(session) if type_ == "budget.soft_limit"]
        assert [(data["scope"], data["limit_nano"], data["spent_nano"]) for data in told] == [
            ("account", 1_000_000, 2 * COST)
        ]


async def test_runs_that_repeat_one_share_its_budget(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as plane:
        _, first = await plane.session("default", budget_nano=1_000_000, execution="exe_1")
        _, again = await plane.session("default", budget_nano=1_000_000, execution="exe_2", budget_of="exe_1")
        _, other = await plane.session("default", budget_nano=1_000_000, execution="exe_3")
        await ask(plane, first)
        with pytest.raises(openai.APIStatusError, match="for this run"):
            await ask(plane, again)
        await ask(plane, other)


@pytest.mark.parametrize("limit_usd", ["5.00", "0.001"])
async def test_what_is_free_goes_back_by_itself(tmp_path: Path, limit_usd: str) -> None:
    """Also when all of a small lease was reserved while somebody looked."""
    async with plane_with(tmp_path, {"scope": "account", "limit_usd": limit_usd}, delay_ms=300) as plane:
        _, token = await plane.session("default")
        await ask(plane, token)

        async def nothing_lent() -> bool:
            return not await plane.db.read(sa.select(leases).where(leases.c.amount_nano != 0))

        await until(nothing_lent, 5, what="the lease to come back")
        standing = await reports.standing(plane.db, DEFAULT, budget("account", DEFAULT, 0))
        assert standing is not None
        assert (standing.spent_nano, standing.held_nano) == (COST, 0)


async def test_a_worker_settles_what_one_left_that_died_beside_it(tmp_path: Path) -> None:
    async with plane_with(tmp_path) as plane:
        session = await anyio.to_thread.run_sync(stream_and_kill, tmp_path)
        spend = await plane.spend(session)
        assert (spend.calls, spend.estimated, spend.output) == (1, 1, 50)

        async def nothing_held() -> bool:
            return (await plane.standing(session)).held_nano == 0

        assert await until(nothing_held, 5, what="what the one that died had held")


async def test_strict_has_the_intent_in_the_database_before_the_call(tmp_path: Path) -> None:
    async with plane_with(tmp_path, strict=True) as plane:
        session, token = await plane.session("default")
        await ask(plane, token)
        await plane.spend(session)
        assert await plane.db.read(sa.select(intents)) == []
    session = await anyio.to_thread.run_sync(stream_and_kill, tmp_path, "strict")
    for journal in (tmp_path / "journals").iterdir():
        journal.write_bytes(b"")  # as a power cut leaves it
    async with plane_with(tmp_path) as plane:
        spend = await plane.spend(session)
        assert (spend.calls, spend.estimated, spend.output) == (1, 1, 50)
        assert (await plane.standing(session)).held_nano == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
async def test_clients_that_race_on_two_processes_never_pass_a_budget(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = request.getfixturevalue("postgres_tables") if kind == "postgres" else None
    outcome = await race(tmp_path, url=url, rounds=5)
    assert outcome.admitted
    assert outcome.refused
    assert outcome.admitted + outcome.refused == 5 * 64
    assert (outcome.overshoot_nano, outcome.held_nano, outcome.miscounted, outcome.strange) == (0, 0, 0, [])
