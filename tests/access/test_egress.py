"""The egress door as containers meet it: who gets through to what, what is written down, and when it ends."""

import os
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSListener, TLSStream

from tests.access.clients import (
    after_the_end,
    asking,
    certificate,
    connected,
    run,
    said,
    standing,
    tls,
    tunnel,
    whole,
)
from tests.access.plane import HERE, UP, plane, problem
from tests.components import need_program
from tests.waiting import until


async def test_curl_reaches_a_listed_host_and_the_run_s_record_says_so(tmp_path: Path) -> None:
    need_program("curl")
    pem = certificate(tmp_path, UP)

    async def hello(stream: TLSStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello")

    inner = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = inner.extra(SocketAttribute.local_port)
    async with plane(tmp_path, **HERE) as running, inner, anyio.create_task_group() as tasks:
        tasks.start_soon(TLSListener(inner, tls(pem)).serve, hello)
        session_id, token = await running.session(egress=(f"{UP}:{port}",))
        env = {"PATH": os.environ["PATH"], "HTTPS_PROXY": f"http://agent:{token}@127.0.0.1:{running.port}"}
        asked = await run("curl", "-q", "-sS", "--cacert", str(pem), f"https://{UP}:{port}/", env=env)
        assert asked == (0, "hello", "")
        [closed] = await running.closed(session_id)
        [opened, _] = await running.told(session_id)
        assert opened == ("egress.opened", {"host": UP, "port": port, "addresses": ["127.0.0.1"]})
        assert (closed["host"], closed["port"], closed["why"]) == (UP, port, "over")
        assert closed["up"] > 100 and closed["down"] > 100
        tasks.cancel_scope.cancel()


async def test_without_a_good_token_nobody_is_dialled(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing() as upstream:
        target = f"{UP}:{upstream.port}"
        session_id, token = await running.session(egress=(target,))
        await running.revoke(session_id)
        for wrong in (None, "", "guess", token, token[:-2]):
            answer = await said(running.port, asking(target, wrong))
            assert problem(answer)[0] == 407, answer
            assert b'proxy-authenticate: Basic realm="preloop"' in answer
        assert (upstream.dialled, running.names.asked) == (0, [])
        assert await running.told(session_id) == []


async def test_a_host_that_is_not_listed_is_refused_and_written_down(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing() as upstream:
        session_id, token = await running.session(egress=(UP,))
        answer = await said(running.port, asking(f"{UP}:{upstream.port}", token))
        assert problem(answer) == (403, "egress_not_listed")
        assert (upstream.dialled, running.names.asked) == (0, [])
        [(kind, data)] = await running.told(session_id)
        assert (kind, data["host"], data["port"]) == ("egress.refused", UP, upstream.port)
        assert data["code"] == "egress_not_listed"


@pytest.mark.parametrize(
    "addresses",
    [
        *(["127.0.0.1"], ["10.0.0.5"], ["169.254.169.254"], ["169.254.170.2"], ["100.100.100.200"], ["0.0.0.0"]),
        *(["::1"], ["::ffff:127.0.0.1"], ["64:ff9b::a9fe:a9fe"], ["fd00:ec2::254"], ["fe80::1%lo"], ["2002:7f00:1::"]),
        *(["93.184.216.34", "127.0.0.1"], ["127.0.0.1", "93.184.216.34"]),
    ],
)
@pytest.mark.parametrize("open_to_all", [False, True])
async def test_a_name_that_leads_inside_is_refused(tmp_path: Path, addresses: list[str], open_to_all: bool) -> None:
    async with plane(tmp_path, names={"evil.example": [addresses]}) as running, standing() as upstream:
        target = f"evil.example:{upstream.port}"
        session_id, token = await running.session(egress="open" if open_to_all else (target,))
        answer = await said(running.port, asking(target, token))
        assert problem(answer) == (403, "egress_refused")
        assert upstream.dialled == 0
        [(kind, data)] = await running.told(session_id)
        assert (kind, data["code"]) == ("egress.refused", "address_private")
        found = data["message"].split(" ")[3].rstrip(",")
        assert found in addresses and found.encode() not in answer  # the record says where; the agent doesn't hear it


@pytest.mark.parametrize(
    "target", ["127.0.0.1", "2130706433", "0x7f000001", "127.1", "0", "169.254.169.254", "localhost"]
)
async def test_an_address_in_the_place_of_a_name_leads_nowhere_either(tmp_path: Path, target: str) -> None:
    """Under `open`, and resolved as this machine does, which knows all these spellings."""
    async with plane(tmp_path, names=None) as running, standing() as upstream:
        _, token = await running.session(egress="open")
        answer = await said(running.port, asking(f"{target}:{upstream.port}", token))
        assert problem(answer) == (403, "egress_refused")
        assert upstream.dialled == 0


async def test_a_resolver_that_changes_its_mind_is_not_asked_again(tmp_path: Path) -> None:
    """The second answer would lead to another listener; the first one was checked, so it is dialled."""
    names = {UP: [["127.0.0.1"], ["127.0.0.2"]]}
    async with plane(tmp_path, settings={"private_hosts": [UP]}, names=names) as running, standing() as upstream:
        _, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        async with tunnel(running.port, f"{UP}:{upstream.port}", token) as stream:
            await stream.send(b"hello")
            assert await stream.receive() == b"hello"
        assert running.names.asked == [UP]


async def test_a_name_that_was_checked_is_checked_again_the_next_time(tmp_path: Path) -> None:
    names = {"swings.example": [["169.254.169.254"], ["10.0.0.1"]]}
    async with plane(tmp_path, names=names) as running:
        _, token = await running.session(egress=("swings.example",))
        for _ in range(2):
            answer = await said(running.port, asking("swings.example:443", token))
            assert problem(answer) == (403, "egress_refused")


async def test_a_host_that_nobody_serves_is_told_apart_in_the_record(tmp_path: Path) -> None:
    async with standing() as gone:
        port = gone.port
    async with plane(tmp_path, **HERE) as running:
        session_id, token = await running.session(egress=(f"{UP}:{port}", "nowhere.example"))
        answer = await said(running.port, asking(f"{UP}:{port}", token))
        assert problem(answer) == (503, "egress_unreachable") and b"127.0.0.1" not in answer
        assert problem(await said(running.port, asking("nowhere.example:443", token))) == (403, "egress_refused")
        told = [(kind, data.get("why"), data.get("code")) for kind, data in await running.told(session_id)]
        assert told == [
            ("egress.opened", None, None),
            ("egress.closed", "unreachable", None),
            ("egress.refused", None, "outbound_failed"),
        ]


# what it carries ------------------------------------------------------------------------------------------------------


async def test_bytes_pass_as_they_are_however_they_are_cut(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing() as upstream:
        _, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        async with connected(running.port) as stream:
            for byte in asking(f"{UP}:{upstream.port}", token):
                await stream.send(bytes([byte]))
            assert (await stream.receive()).startswith(b"HTTP/1.1 200 ")
            await stream.send(b"GET / HTTP/1.1\r\n\r\n")
            assert await stream.receive() == b"GET / HTTP/1.1\r\n\r\n"


async def test_what_a_client_says_too_early_reaches_the_host_and_nobody_else(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing() as upstream:
        _, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        async with connected(running.port) as stream:
            await stream.send(asking(f"{UP}:{upstream.port}", token) + b"early")
            answer = b""
            while not answer.endswith(b"early"):
                answer += await stream.receive()
        assert bytes(upstream.heard) == b"early"


async def test_one_end_may_be_silent_before_the_other(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing(after_the_end) as upstream:
        session_id, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        async with tunnel(running.port, f"{UP}:{upstream.port}", token) as stream:
            await stream.send(b"question")
            await stream.send_eof()
            assert await whole(stream) == b"heard question"
        [closed] = await running.closed(session_id)
        assert (closed["why"], closed["up"], closed["down"]) == ("over", 8, 14)


# what is no tunnel ----------------------------------------------------------------------------------------------------


async def test_behind_a_refused_connect_nothing_is_read_as_a_request(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running:
        _, token = await running.session(egress=())
        second = b"POST /api/v1/agent/token HTTP/1.1\r\nHost: preloop\r\nContent-Length: 0\r\n\r\n"
        answer = await said(running.port, asking(f"{UP}:443", token) + second)
        assert problem(answer) == (403, "egress_not_listed")
        assert answer.count(b"HTTP/1.1 ") == 1


async def test_behind_another_request_connect_is_none(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing() as upstream:
        target = f"{UP}:{upstream.port}"
        session_id, token = await running.session(egress=(target,))
        first = b"GET /nothing HTTP/1.1\r\nHost: preloop\r\n\r\n"
        async with connected(running.port) as stream:
            await stream.send(first)
            assert b" 404 " in (await stream.receive()).split(b"\r\n")[0]
            await stream.send(asking(target, token))
            assert b" 400 " in (await whole(stream)).split(b"\r\n")[0]
        assert b" 200 " not in await said(running.port, first + asking(target, token))
        assert (upstream.dialled, await running.told(session_id)) == (0, [])


@pytest.mark.parametrize(
    "request_",
    [
        asking("[::1]:443", "t"),
        asking("up.example:443", "t", "Content-Length: 3"),
        asking("up.example:443", "t", "Transfer-Encoding: chunked"),
        b"CONNECT up.example:443 HTTP/1.1\nHost: x\n\n\r\n\r\n",
        b"CONNECT http://up.example/ HTTP/1.1\r\n\r\n",
        b"CONNECT " + b"a" * 20_000 + b"\r\n\r\n",
        b"CONNECT " + b"a" * 200_000,
    ],
)
async def test_an_odd_head_is_refused_whole(tmp_path: Path, request_: bytes) -> None:
    async with plane(tmp_path, **HERE) as running:
        answer = await said(running.port, request_)
        assert problem(answer) == (400, "connect_invalid")
        assert running.names.asked == []


async def test_a_head_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with plane(tmp_path, head_s=0.2) as running:
        assert problem(await said(running.port, b"CONNECT up.example:443 HTT")) == (408, "connect_slow")


async def test_one_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    async with plane(tmp_path, **HERE) as running, standing() as upstream:
        session_id, token = await running.session(egress=(f"{UP}:{upstream.port}",))
        async with connected(running.port) as stream:
            await stream.send(b"CONNECT ")
        async with tunnel(running.port, f"{UP}:{upstream.port}", token) as stream:
            await stream.send(b"hello")
            await stream.receive()
        [closed] = await running.closed(session_id)
        assert closed["why"] in ("over", "broken")
        await until(lambda: upstream.ended, what="the host hears of the end")
