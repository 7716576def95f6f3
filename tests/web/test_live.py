"""The live socket over real sockets: who may open it, what it tells, and that a reconnect misses nothing."""

from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import sqlalchemy as sa

from control.executions import logs
from control.identity.principals import Role
from control.tables import executions
from kit.bus import Bus
from kit.db import Tx
from preloop.database import open_database
from tests.browser.scene import end, write_log
from tests.control.house import ACCOUNT
from tests.databases import laid
from tests.serving import serving
from tests.web.ears import Door
from tests.web.world import World


async def lines(world: World, run: str, count: int) -> None:
    await write_log(world, run, tuple(("agent", "info", f"line {n}") for n in range(count)))


async def test_a_page_of_ours_with_a_cookie_hears_what_happens_to_a_run(door: Door) -> None:
    principal = await door.world.house.running()
    run = principal.execution_id or ""
    async with door.person() as ear:
        assert await ear.watch(run) == {"watch": run, "type": "watching", "seq": 0, "log": 0}
        await end(door.world, principal, None)
        told = await ear.until("execution.ended")
    assert [one["seq"] for one in told] == list(range(1, len(told) + 1))
    assert told[0]["type"] == "execution.created"
    assert told[-1]["data"]["state"] == "SUCCEEDED"


async def test_a_program_with_an_api_token_needs_no_origin(door: Door) -> None:
    run = await door.world.house.start()
    async with door.open(Authorization=f"Bearer {await door.world.token(Role.VIEWER, kind='api')}") as ear:
        assert (await ear.watch(run))["type"] == "watching"


async def test_another_sites_page_is_refused_though_the_cookie_comes_along(door: Door) -> None:
    cookie = f"preloop={await door.world.token()}"
    assert await door.refused(Cookie=cookie, Origin="https://elsewhere.example.com") == 403
    assert await door.refused(Cookie=cookie) == 403


async def test_nobody_gets_no_socket_and_a_sign_in_link_is_nobody(door: Door) -> None:
    for token in ("", "pla_nothing", await door.world.token(kind="sign_in")):
        assert await door.refused(Authorization=f"Bearer {token}") == 403
        assert await door.refused(Cookie=f"preloop={token}", Origin=door.url) == 403


async def test_an_execution_that_is_not_yours_is_as_unknown_as_one_that_never_was(door: Door) -> None:
    run = await door.world.house.start()
    moved = sa.update(executions).values(account_id="other")
    await door.world.house.db.write(lambda tx: tx.execute(moved))
    async with door.person() as ear:
        for name in (run, "exe_never", "flows"):
            told = await ear.watch(name)
            assert (told["type"], told["code"], told["watch"]) == ("error", "execution_unknown", name)
        assert (await ear.watch("executions"))["type"] == "watching"


async def test_the_log_has_no_gap_and_nothing_twice_after_a_reconnect(door: Door) -> None:
    run = await door.world.house.start()
    await lines(door.world, run, 5)
    async with door.person() as ear:
        await ear.watch(run)
        heard = await ear.lines(5)
    await lines(door.world, run, 3)
    async with door.person() as ear:
        assert (await ear.watch(run, after=1, log=5))["log"] == 5
        await lines(door.world, run, 2)
        heard += await ear.lines(10)
    assert heard == list(range(1, 11))


async def test_a_line_carries_what_the_page_shows_of_it(door: Door) -> None:
    await write_log(door.world, run := await door.world.house.start(), (("agent", "error", "<b>\u202e\x1b[31mno"),))
    async with door.person() as ear:
        await ear.watch(run)
        line = (await ear.until("log"))[-1]["lines"][0]
    assert line.pop("at").endswith("Z")
    assert line.pop("segments") == [["", "<b>"], ["char", "U+202E"], ["red", "no"]]
    assert line == {"number": 1, "source": "agent", "level": "error", "text": "<b>\u202e\x1b[31mno"}


async def test_a_watch_from_now_on_leaves_out_what_was_before(door: Door) -> None:
    principal = await door.world.house.running()
    run = principal.execution_id or ""
    await lines(door.world, run, 4)
    async with door.person() as ear:
        told = await ear.watch(run, after=None, log=None)
        assert told["log"] == 4
        await lines(door.world, run, 1)
        await end(door.world, principal, None)
        news = await ear.until("execution.ended")
    assert [one["number"] for one in news if one["type"] == "log"] == [5]
    assert next(one["seq"] for one in news if "seq" in one) == told["seq"] + 1


async def test_the_lines_before_the_end_come_before_the_end(door: Door) -> None:
    principal = await door.world.house.running()
    run = principal.execution_id or ""
    await lines(door.world, run, 700)
    await end(door.world, principal, None)
    async with door.person() as ear:
        await ear.watch(run)
        told = await ear.until("execution.ended")
    assert sum(len(one["lines"]) for one in told if one["type"] == "log") == 700
    assert max(len(one["lines"]) for one in told if one["type"] == "log") <= 500


async def test_a_reader_who_is_slow_still_gets_every_line(door: Door) -> None:
    run = await door.world.house.start()
    async with door.person() as ear:
        await ear.watch(run)
        for _ in range(20):
            await lines(door.world, run, 1000)
        assert await ear.lines(20_000) == list(range(1, 20_001))


async def test_two_people_watch_the_same_run_each_from_their_own_place(door: Door) -> None:
    run = await door.world.house.start()
    await lines(door.world, run, 2)
    async with door.person() as early, door.person(Role.ADMIN) as late:
        await early.watch(run)
        await late.watch(run, log=2)
        assert await early.lines(2) == [1, 2]
        await lines(door.world, run, 2)
        assert await early.lines(4) == [3, 4]
        assert await late.lines(4) == [3, 4]


async def test_what_another_process_writes_is_seen_without_a_wake_up(door: Door, tmp_path: Path) -> None:
    run = await door.world.house.start()
    other = await open_database(tmp_path, laid(tmp_path / "preloop.db"), Bus())

    def elsewhere(tx: Tx) -> None:
        logs.append(tx, ACCOUNT, run, [("2026-11-22T09:30:17Z", "agent", "info", "hello")])
        tx.execute(sa.update(executions).where(executions.c.id == run).values(stop_intent="cancelled"))

    try:
        async with door.person() as ear:
            await ear.watch(run)
            await ear.until("execution.created")
            await ear.watch("executions")
            await other.write(elsewhere)
            told = [await ear.next(), await ear.next()]
    finally:
        await other.close()
    assert {(one["watch"], one["type"]) for one in told} == {(run, "log"), ("executions", "changed")}


async def test_lists_say_only_that_they_changed(door: Door) -> None:
    house = door.world.house
    async with door.person() as ear:
        assert await ear.watch("approvals") == {"watch": "approvals", "type": "watching"}
        await house.call(await house.running())
        assert await ear.next() == {"watch": "approvals", "type": "changed"}
        assert await ear.watch("executions") == {"watch": "executions", "type": "watching"}
        await house.start()
        assert await ear.next() == {"watch": "executions", "type": "changed"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", "json_invalid"),
        ("{}", "message_invalid"),
        ('{"watch": "executions", "after": -1}', "message_invalid"),
        ('{"watch": "executions", "since": 1}', "message_invalid"),
    ],
)
async def test_a_wrong_message_is_answered_and_the_socket_lives_on(door: Door, text: str, code: str) -> None:
    async with door.person() as ear:
        await ear.wire.send(text)
        assert (await ear.next())["code"] == code
        assert (await ear.watch("executions"))["type"] == "watching"
        assert (await ear.watch("executions"))["code"] == "watched_already"


@pytest.mark.parametrize(("message", "code"), [("x" * 4097, 1009), (b"{}", 1003), ("x" * 1_000_000, 1009)])
async def test_what_is_no_short_text_ends_the_conversation(door: Door, message: str | bytes, code: int) -> None:
    async with door.person() as ear:
        await ear.wire.send(message)
        assert await ear.closed() == code


async def test_a_socket_watches_twenty_things_and_no_more(door: Door) -> None:
    runs = [await door.world.house.start() for _ in range(21)]
    async with door.person() as ear:
        for run in runs[:20]:
            assert (await ear.watch(run, after=None, log=None))["type"] == "watching"
        assert (await ear.watch(runs[20], after=None, log=None))["code"] == "watches_too_many"


async def test_a_server_that_stops_says_so_and_leaves_no_watch_behind(world: World) -> None:
    async with AsyncExitStack() as after:
        async with serving(world.app) as url:
            door = Door(world=world, url=url)
            ear = await after.enter_async_context(door.open(Authorization=f"Bearer {await world.token(kind='api')}"))
            await ear.watch("executions")
            async with door.person() as gone:
                await gone.watch("approvals")
        assert await ear.closed() == 1012
    assert not world.house.bus._watches
