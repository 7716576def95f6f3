"""Sending notices: a server that hangs delays its own channel and nobody else, and many leave in little time."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from anyio.abc import SocketStream
from pydantic import SecretStr

from control import events
from control.approvals import endings, notices
from control.approvals.directory import Approver, Directory
from control.approvals.notices import Notice
from control.executions import logs
from control.tables import outbox
from kit.errors import Unavailable
from kit.outbound import Outbound
from preloop.channels import sender
from preloop.notify_settings import SlackChannel
from preloop.sending import ABREAST, Send, Sender
from tests.control.house import ACCOUNT, House
from tests.fakes.sink import sink
from tests.web.world import World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        people = {
            "alice": Approver(id="alice", name="Alice", notify=("hung",)),
            "bob": Approver(id="bob", name="Bob", notify=("good",)),
        }
        opened.house.desk.directory = Directory(approvers=people, groups={"finance": ("alice", "bob")})
        yield opened


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    made = Outbound(private_hosts=["127.0.0.1"])
    yield made
    await made.close()


def slack(url: str, outbound: Outbound) -> Send:
    return sender(SlackChannel(type="slack", url=SecretStr(url)), outbound, Directory(approvers={}, groups={}))


def opened(house: House, **channels: Send) -> Sender:
    return Sender(house.db, house.bus, desk=house.desk, channels=channels, public_url="http://p")


@asynccontextmanager
async def hung_server() -> AsyncIterator[str]:
    """A server that takes every connection and never answers; its address."""

    async def hang(stream: SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, hang)
        yield f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/hook"
        tasks.cancel_scope.cancel()


async def test_a_server_that_hangs_delays_nobody_else(world: World, outbound: Outbound) -> None:
    principal = await world.house.running()
    for number in range(6):
        await world.house.call(principal, amount=1000 + number)
    arrived, heard = anyio.create_memory_object_stream[str](10)
    async with hung_server() as hung, sink() as kept, anyio.create_task_group() as tasks:
        post = slack(kept.url, outbound)

        async def good(notice: Notice) -> None:
            await post(notice)
            arrived.send_nowait(notice.target)

        tasks.start_soon(opened(world.house, hung=slack(hung, outbound), good=good).run)
        with anyio.fail_after(8):  # one attempt at the hung one takes 10 s
            assert [await heard.receive() for _ in range(6)] == ["bob"] * 6
            await world.house.call(principal, amount=5000)
            assert await heard.receive() == "bob"
        assert len(kept.bodies) == 7
        tasks.cancel_scope.cancel()
    arrived.close()
    heard.close()


async def many(house: House, count: int) -> None:
    """That many notices of one request to each approver."""
    call = await house.call(await house.running())
    row, asked = await house.call_row(call), await house.approval(call)
    people = tuple(house.desk.directory.approvers.values())
    for _ in range(count - 1):
        await house.db.write(lambda tx: notices.queue(tx, asked, row, people, topic=notices.REMINDED))


async def test_a_hundred_notices_over_healthy_channels_are_quick(world: World, outbound: Outbound) -> None:
    await many(world.house, 50)
    async with sink() as kept:
        post = slack(kept.url, outbound)
        with anyio.fail_after(20):
            await opened(world.house, hung=post, good=post).send_due()
    assert len(kept.bodies) == 100
    assert {row.status for row in await world.house.db.read(sa.select(outbox.c.status))} == {"sent"}


async def test_a_few_go_over_one_channel_at_once_and_never_more(world: World) -> None:
    await many(world.house, 3 * ABREAST)
    most, under_way, full = 0, 0, anyio.Event()

    async def held(_: Notice) -> None:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        if under_way == ABREAST:
            full.set()
        await full.wait()
        await anyio.lowlevel.checkpoint()
        under_way -= 1

    async def quick(_: Notice) -> None:
        return None

    with anyio.fail_after(20):
        await opened(world.house, hung=held, good=quick).send_due()
    assert most == ABREAST


async def test_a_channel_that_breaks_is_a_failed_attempt_and_stops_no_other(world: World) -> None:
    await world.house.call(await world.house.running())
    arrived: list[str] = []

    async def broken(_: Notice) -> None:
        raise KeyError("a bug")

    async def good(notice: Notice) -> None:
        arrived.append(notice.target)

    await opened(world.house, hung=broken, good=good).send_due()
    rows = await world.house.db.read(sa.select(outbox.c.channel, outbox.c.status, outbox.c.error))
    assert arrived == ["bob"]
    assert {row.channel: row.status for row in rows} == {"hung": "waiting", "good": "sent"}
    assert any("KeyError" in (row.error or "") for row in rows)


async def test_where_nobody_answers_the_run_ends_within_seconds(world: World, outbound: Outbound) -> None:
    principal = await world.house.running()
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refused = slack(f"http://127.0.0.1:{closed.getsockname()[1]}/hook", outbound)
    await world.house.call(principal)
    with world.house.bus.watch(events.topic(principal.stream)) as news:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(opened(world.house, hung=refused, good=refused).run)
            with anyio.fail_after(15):  # the whole ladder would take 4 minutes
                while (row := await world.house.row(principal.execution_id)).state == "RUNNING":
                    await news.changed(1)
            tasks.cancel_scope.cancel()
    assert (row.cause, row.hint) == ("approver_unreachable", endings.HINT)
    told = [line.text for line in await logs.read(world.house.db, ACCOUNT, principal.stream)]
    tries = [text.split("attempt ")[1][0] for text in told if text.startswith("Notice to Alice over hung failed")]
    assert tries == ["1", "2", "3"]
    assert not any("sent to" in text for text in told)


async def test_what_may_pass_is_tried_again_later_and_not_at_once(world: World) -> None:
    await world.house.call(await world.house.running())

    async def later(_: Notice) -> None:
        raise Unavailable("outbound_failed", "nobody there")

    await opened(world.house, hung=later, good=later).send_due()
    rows = await world.house.db.read(sa.select(outbox))
    assert {(row.status, row.attempts) for row in rows} == {("waiting", 1)}
    assert all(row.next_at > row.created_at for row in rows)
