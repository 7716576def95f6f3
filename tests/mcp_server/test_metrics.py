"""What the endpoint counts: forms of waits, what upstreams take, what lists cost, and that nobody waits for nobody."""

import pytest

from mcp_server import calls, catalog, exchange
from mcp_server.upstream import upstream
from tests.mcp_server.plane import ERAS, FREE, GATED, PAYMENT, Era, Payments, Plane
from tests.mcp_server.test_resume import agent, broken
from tests.waiting import until


@pytest.mark.parametrize("era", ERAS)
async def test_a_wait_is_counted_once_by_the_form_its_client_knows(house: Plane, payments: Payments, era: Era) -> None:
    form = {"legacy": "older", "2026-07-28": "progress"}[era]
    before = calls.HOLDS.value(form)
    _, token = await house.enrolled(GATED)

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        await house.decide((await house.pending())[0])

    async with house.client(token, era) as client:
        await client.call_tool("pay", PAYMENT, progress_callback=progress)
    assert calls.HOLDS.value(form) - before == 1


async def test_upstream_calls_are_timed_and_lists_that_were_kept_are_hits(house: Plane, payments: Payments) -> None:
    def timed() -> float:
        return upstream.LATENCY.count("payments", "answered")

    before = timed(), catalog.LISTS.value("hit"), catalog.LISTS.value("miss")
    _, token = await house.enrolled(FREE)
    async with house.client(token, "2026-07-28") as client:
        for amount in (1, 2, 3):
            await client.call_tool("pay", PAYMENT | {"amount": amount})
    assert timed() - before[0] == 3
    assert catalog.LISTS.value("hit") - before[1] >= 2
    assert catalog.LISTS.value("miss") - before[2] == 1


async def test_a_client_that_left_leaves_no_orphan(house: Plane) -> None:
    _, token = await house.enrolled(GATED)
    async with agent(house, token) as http:
        await broken(house, http, 3)
        [approval] = await house.pending()
    assert await until(lambda: not house.endpoint.calls.sends.followed(approval.call_id), what="nobody to wait")
    assert await until(lambda: not exchange.ORPHANS.value(), what="no orphan")


async def test_a_handler_that_goes_on_without_its_client_is_an_orphan_until_it_ends(house: Plane) -> None:
    principal = None

    async def nothing(*_: object) -> dict[str, str]:
        return {"type": "http.disconnect"}

    one = exchange.Exchange(principal, nothing, b"", nothing, nothing, None)  # type: ignore[arg-type]
    with one.handling():
        assert exchange.ORPHANS.value() == 0
        await one.close()
        assert exchange.ORPHANS.value() == 1
    assert exchange.ORPHANS.value() == 0
