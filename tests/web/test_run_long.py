"""The page of a run with more calls and requests than it shows: what it says is true of all of them."""

import re
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from control import events
from control.executions.states import Cause
from control.identity.principals import Principal
from control.tables import approvals, tool_calls
from kit.db import Tx
from kit.ids import new_id
from ledger.tables import entries
from tests.browser.scene import Scene, begin, end, set_scene
from tests.web.test_run import read, record, words
from tests.web.world import World

MANY = 600


@pytest.fixture
async def scene(world: World) -> Scene:
    return await set_scene(world)


def copies(tx: Tx, table: sa.Table, of: str, count: int, **changed: Any) -> None:
    """As many rows more, like one but for their ids."""
    row = dict(tx.execute(sa.select(table).where(table.c.id == of)).one()._mapping) | changed
    prefix = of.partition("_")[0]
    tx.execute(sa.insert(table), [row | {"id": new_id(prefix)} for _ in range(count)])


async def failing(world: World) -> tuple[Principal, str]:
    """A run whose last call is of another tool and failed, after hundreds that did not; and that call."""
    run = await begin(world)
    fine = await world.house.call(run, "get_contract", id="C-1")
    await world.house.claim(run, fine)
    await world.house.settle(fine, found=True)
    await world.house.db.write(partial(copies, table=tool_calls, of=fine, count=MANY))
    bad = await world.house.call(run, "get_contract", id="C-404")
    await world.house.claim(run, bad)
    await world.house.db.write(
        lambda tx: world.house.desk.settle(tx, bad, result=None, is_error=True, error="no contract")
    )
    return run, bad


async def test_the_call_that_failed_is_on_the_page_and_the_counts_are_of_all(world: World) -> None:
    run, bad = await failing(world)
    [entry] = await world.house.db.read(sa.select(entries.c.id).where(entries.c.execution_id == run.execution_id))
    await world.house.db.write(partial(copies, table=entries, of=entry.id, count=MANY))
    id_ = await end(world, run, Cause.TOOL_FAILED, "Tool 'get_contract' failed")
    about: dict[str, object] = {
        "cause": "tool_failed",
        "stage": "tool",
        "tool": "get_contract",
        "model": None,
        "provider": None,
    }
    await record(world, id_, (events.DIAGNOSED, about))
    html = await read(world, f"/executions/{id_}")
    assert f'Failed tool: <a href="#{bad}">get_contract</a>' in html
    assert f'<tr id="{bad}" class="call">' in html
    said = words(html)
    assert f"Tool Calls {MANY + 2}" in said and f"Model Calls {MANY + 1}" in said
    assert f"These are the first 100 of {MANY + 2}, and 1 later that links lead to." in said
    assert f"These are the first 100 of {MANY + 1}." in said
    later = (MANY + 2 - 101) + (MANY + 1 - 100)
    assert f"Of {later:,} that came later nothing is drawn." in said
    assert f'<a href="#{bad}" class="tool bad"' in html[html.index('<ol class="waterfall">') :]
    assert f"Tokens {1200 * (MANY + 1):,} in, {84 * (MANY + 1):,} out" in said


async def test_the_list_of_all_calls_leads_to_each_of_them(world: World) -> None:
    run, _ = await failing(world)
    [last] = await world.house.db.read(sa.select(sa.func.max(tool_calls.c.id)).where(tool_calls.c.status != "failed"))
    html = await read(world, "/tool-calls?status=succeeded")
    addresses = re.findall(r'<a href="([^"]+)" aria-label="View details', html)
    [address] = [one for one in addresses if one.endswith(last[0])]
    shown = await read(world, address.partition("#")[0])
    assert address.partition("#")[2] == last[0] and shown.count(f'<tr id="{last[0]}" class="call">') == 1
    assert f'<tr id="{last[0]}" class="call">' not in await read(world, f"/executions/{run.execution_id}")
    other = await world.house.start()
    assert f'id="{last[0]}"' not in await read(world, f"/executions/{other}?call={last[0]}")


async def test_the_attempt_that_broke_is_on_the_page(world: World) -> None:
    run = await begin(world)
    [entry] = await world.house.db.read(sa.select(entries.c.id).where(entries.c.execution_id == run.execution_id))
    await world.house.db.write(partial(copies, table=entries, of=entry.id, count=MANY))
    await world.house.db.write(partial(copies, table=entries, of=entry.id, count=2, status="failed"))
    bad = await world.house.db.read(sa.select(sa.func.max(entries.c.id)).where(entries.c.status == "failed"))
    id_ = await end(world, run, Cause.MODEL_ERROR, "Overloaded")
    about: dict[str, object] = {
        "cause": "model_error",
        "stage": "upstream",
        "tool": None,
        "model": "default",
        "provider": "scripted",
    }
    await record(world, id_, (events.DIAGNOSED, about))
    html = await read(world, f"/executions/{id_}")
    assert f'<a href="#{bad[0][0]}">the call</a>' in html
    assert f'<tr id="{bad[0][0]}">' in html


async def test_of_calls_that_failed_the_last_of_the_named_tool_is_blamed(world: World) -> None:
    run = await begin(world)
    ids: list[str] = []
    for name in ("get_contract", "get_contract", "pay"):
        ids.append(await world.house.call(run, name, amount=len(ids)))
        await world.house.claim(run, ids[-1])
        settled = partial(world.house.desk.settle, call_id=ids[-1], result=None, is_error=True, error="no")
        await world.house.db.write(settled)
    id_ = await end(world, run, Cause.TOOL_FAILED, "Tool 'get_contract' failed")
    assert f'Failed tool: <a href="#{ids[2]}">pay</a>' in await read(world, f"/executions/{id_}")
    about: dict[str, object] = {
        "cause": "tool_failed",
        "stage": "tool",
        "tool": "get_contract",
        "model": None,
        "provider": None,
    }
    await record(world, id_, (events.DIAGNOSED, about))
    assert f'Failed tool: <a href="#{ids[1]}">get_contract</a>' in await read(world, f"/executions/{id_}")


async def test_a_request_that_waits_is_named_though_hundreds_came_before_it(world: World, scene: Scene) -> None:
    run, first = scene.runs["WAITING_FOR_APPROVAL"], scene.approval
    await world.house.db.write(partial(copies, table=approvals, of=first, count=1))
    await world.house.db.write(
        lambda tx: tx.execute(sa.update(approvals).where(approvals.c.id == first).values(status="declined"))
    )
    [row] = await world.house.db.read(
        sa.select(approvals.c.id).where(approvals.c.execution_id == run, approvals.c.status == "pending")
    )
    await world.house.db.write(
        lambda tx: tx.execute(sa.update(approvals).where(approvals.c.id == row.id).values(id="apr_zzz"))
    )
    await world.house.db.write(partial(copies, table=approvals, of=first, count=MANY))
    html = await read(world, f"/executions/{run}")
    assert re.search(r'id="wait-apr_zzz">', html) and f"Approval Requests {MANY + 2}" in words(html)


async def test_each_figure_stands_in_its_column(world: World, scene: Scene) -> None:
    run = scene.runs["SUCCEEDED"]
    await world.house.db.write(lambda tx: tx.execute(sa.update(entries).values(first_token_ms=123, total_ms=4567)))
    html = await read(world, f"/executions/{run}")
    cells = {label: words(cell) for label, cell in re.findall(r'data-label="([^"]+)">(.*?)</td>', html, re.DOTALL)}
    assert (cells["First token"], cells["Reason"]) == ("123 ms", "matches the contract")
    waited = await read(world, f"/executions/{scene.runs['WAITING_FOR_APPROVAL']}")
    assert re.search(r'data-label="Duration">.*?\+ <span data-growing="\d+">[^<]+</span> waiting', waited, re.DOTALL)
