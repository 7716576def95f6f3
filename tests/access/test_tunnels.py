"""When a connection through the egress door ends: with its session, our stop, silence, or more than its share."""

from pathlib import Path

import anyio
import pytest
import sqlalchemy as sa
from anyio.abc import SocketStream

from control.tables import sessions as stored
from tests.access.clients import Upstream, asking, connected, echo, flood, said, standing, tunnel, whole
from tests.access.plane import HERE, NAMES, UP, Plane, plane, problem
from tests.waiting import until


async def open_tunnel(running: Plane, upstream: Upstream, stream: SocketStream, token: str) -> None:
    await stream.send(asking(f"{UP}:{upstream.port}", token))
    assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")
    await stream.send(b"ping")
    assert await stream.receive() == b"ping"


async def test_a_tunnel_ends_with_its_session(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing() as upstream, connected(running.port) as stream:
        session_id, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        await open_tunnel(running, upstream, stream, token)
        await running.revoke(session_id)
        assert await whole(stream) == b""
        [closed] = await running.closed(session_id)
        assert closed["why"] == "session_ended"
        await until(lambda: upstream.ended, what="the host hears of the end")


async def test_a_session_that_ends_in_another_process_ends_its_tunnels_here(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing() as upstream, connected(running.port) as stream:
        session_id, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        await open_tunnel(running, upstream, stream, token)
        gone = sa.update(stored).where(stored.c.id == session_id)
        await running.db.write(lambda tx: tx.changed(gone.values(revoked_at=tx.now())))  # nobody here is woken
        assert await whole(stream) == b""
        [closed] = await running.closed(session_id)
        assert closed["why"] == "session_ended"


async def test_a_stop_ends_what_is_open_and_says_so(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing() as upstream, connected(running.port) as stream:
        session_id, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        await open_tunnel(running, upstream, stream, token)
        running.egress.drain()
        assert await whole(stream) == b""
        [closed] = await running.closed(session_id)
        assert closed["why"] == "stopped"
        assert await said(running.port, asking(f"{UP}:{upstream.port}", token)) == b""


async def test_a_tunnel_on_which_nothing_moves_ends(tmp_path: Path) -> None:
    settings = {"private_hosts": [UP], "idle": 1}
    async with plane(tmp_path, settings=settings, names=NAMES) as running, standing() as upstream:
        session_id, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        async with connected(running.port) as stream:
            await open_tunnel(running, upstream, stream, token)
            assert await whole(stream) == b""
        [closed] = await running.closed(session_id)
        assert closed["why"] == "idle"
        assert closed["duration_ms"] >= 1000


async def test_a_client_that_takes_nothing_ends_too_and_little_waits_for_it(tmp_path: Path) -> None:
    settings = {"private_hosts": [UP], "idle": 1}
    async with plane(tmp_path, settings=settings, names=NAMES) as running, standing(flood) as upstream:
        session_id, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        async with connected(running.port) as stream:
            await stream.send(asking(f"{UP}:{upstream.port}", token))
            [closed] = await running.closed(session_id)
        assert closed["why"] == "idle"
        assert closed["down"] < 64 << 20  # the systems' own buffers


@pytest.mark.parametrize("talk", [flood, echo])
async def test_a_session_moves_so_many_bytes_and_no_more(tmp_path: Path, talk: object) -> None:
    settings = {"private_hosts": [UP], "most": "1m"}
    async with plane(tmp_path, settings=settings, names=NAMES) as running, standing(talk) as upstream:  # type: ignore[arg-type]
        target = f"{UP}:{upstream.port}"
        session_id, token = await running.session(egress=(target,))
        async with tunnel(running.port, target, token) as stream, anyio.create_task_group() as tasks:
            tasks.start_soon(_push, stream)
            found = await whole(stream)
            tasks.cancel_scope.cancel()
        [closed] = await running.closed(session_id)
        assert closed["why"] == "exhausted"
        assert len(found) <= 1 << 20 and len(upstream.heard) <= 1 << 20
        assert (1 << 20) < closed["up"] + closed["down"] <= (1 << 20) + 2 * 65536
        assert problem(await said(running.port, asking(target, token))) == (403, "egress_exhausted")
        _, other = await running.session(egress=(target,))
        async with tunnel(running.port, target, other):
            pass


async def _push(stream: SocketStream) -> None:
    try:
        while True:
            await stream.send(b"y" * 65536)
    except (anyio.BrokenResourceError, anyio.ClosedResourceError):
        pass


async def test_a_session_has_so_many_connections_open_and_leaves_room_for_others(tmp_path: Path) -> None:
    settings = {"private_hosts": [UP], "connections": 2}
    async with plane(tmp_path, settings=settings, names=NAMES) as running, standing() as upstream:
        target = f"{UP}:{upstream.port}"
        session_id, token = await running.session(egress=(target,))
        async with tunnel(running.port, target, token), tunnel(running.port, target, token):
            assert problem(await said(running.port, asking(target, token))) == (429, "egress_busy")
            _, other = await running.session(egress=(target,))
            async with tunnel(running.port, target, other):
                pass
        await running.closed(session_id, count=2)
        async with tunnel(running.port, target, token):
            pass


async def test_a_session_that_knocks_all_the_time_is_told_to_wait(tmp_path: Path) -> None:
    settings = {"private_hosts": [UP], "per_second": 2}
    async with plane(tmp_path, settings=settings, names=NAMES) as running:
        session_id, token = await running.session(egress=())
        codes = [problem(await said(running.port, asking(f"{UP}:443", token)))[1] for _ in range(12)]
        assert codes[:4] == ["egress_not_listed"] * 4
        assert "egress_too_often" in codes[4:]
        assert len(await running.told(session_id)) == codes.count("egress_not_listed")
