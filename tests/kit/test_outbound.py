"""Which addresses may be dialled for anybody: public ones, also where IPv6 wraps an IPv4 address."""

import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import anyio
import pytest
from anyio.abc import SocketAttribute, SocketStream

from kit.errors import Refused, Unavailable
from kit.outbound import Outbound, connected, public
from tests.components import need_program

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
        *("::", "::1", "fe80::1%lo", "fc00::1", "fec0::1", "ff02::1", "ff0e::1", "2001:db8::1", "2001:0:7f00:1::"),
        *("::ffff:127.0.0.1", "::ffff:0:7f00:1", "::127.0.0.1", "::8.8.8.8", "2002:7f00:1::", "2002:e000:1::"),
        *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808"),
    ],
)
def test_what_is_not_public_is_told_apart(address: str) -> None:
    assert not public(address)


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public_addresses_stay_so_in_their_wrappings(address: str) -> None:
    assert public(address)


@pytest.mark.parametrize("host", ["fec0::1", "64:ff9b::7f00:1", "0x7f.1", "2130706433", "localhost", "224.0.0.1"])
async def test_a_host_at_no_public_address_is_refused_before_anything_is_dialled(host: str) -> None:
    outbound = Outbound()
    with pytest.raises(Refused) as refused:
        await outbound.post(f"http://[{host}]/" if ":" in host else f"http://{host}/", body=b"", headers={})
    assert refused.value.code == "address_private"
    await outbound.close()


class Names:
    """A resolver whose answers change from one question to the next."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append((host, port))
        return self._answers.pop(0)


@pytest.fixture
async def listener() -> AsyncIterator[socket.socket]:
    sock = socket.create_server(("127.0.0.1", 0))
    sock.setblocking(False)
    yield sock
    sock.close()


async def test_one_private_address_among_public_ones_refuses_the_host(listener: socket.socket) -> None:
    outbound = Outbound(resolve=Names(["93.184.216.34", "127.0.0.1"]))
    with pytest.raises(Refused, match=r"127\.0\.0\.1, which is not a public address"):
        await outbound.dial("rebound.example", listener.getsockname()[1])
    with pytest.raises(BlockingIOError):
        listener.accept()
    await outbound.close()


async def test_a_name_is_asked_once_and_its_checked_answer_is_dialled(listener: socket.socket) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    outbound = Outbound(private_hosts=["one.example"], resolve=names)
    port = listener.getsockname()[1]
    with await outbound.dial("one.example", port) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)
    assert names.asked == [("one.example", port)]
    await outbound.close()


OURS = """
import sys, anyio
from kit.errors import Refused
from kit.outbound import Outbound
async def main():
    async def names(host, port):
        return [sys.argv[1]]
    for ours in (True, False):
        try:
            print(await Outbound(ours=ours, resolve=names).checked("me.example", 443))
        except Refused as refused:
            print(refused.message)
anyio.run(main)
"""


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111"])
def test_a_public_address_of_this_machine_is_refused_where_it_must_not_be_dialled(address: str) -> None:
    """In a network namespace whose machine has that address."""
    need_program("unshare")
    need_program("ip")
    bits = 128 if ":" in address else 32
    script = f'ip link set lo up; ip addr add {address}/{bits} dev lo; exec "$0" -c "$1" {address}'
    command = ["unshare", "-rn", "sh", "-ec", script, sys.executable, OURS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.stdout.splitlines() == [f"['{address}']", f"me.example is at {address}, which is this machine."], done


async def test_the_next_address_is_tried_when_one_does_not_answer(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with await connected("two.example", ["127.0.0.9", "127.0.0.1"], port) as sock:
        assert sock.getpeername()[0] == "127.0.0.1"


@pytest.mark.parametrize("answer", [[], ["127.0.0.1"]])
async def test_a_host_without_an_address_or_a_listener_is_unavailable(answer: Sequence[str]) -> None:
    outbound = Outbound(private_hosts=["gone.example"], resolve=Names(answer))
    with anyio.fail_after(5), pytest.raises(Unavailable):
        await outbound.dial("gone.example", 1)
    await outbound.close()


async def test_of_many_addresses_all_are_checked_and_a_few_are_tried() -> None:
    many = [f"93.184.216.{n}" for n in range(1, 100)]
    outbound = Outbound(resolve=Names(many, [*many, "10.0.0.1"]))
    assert await outbound.checked("many.example", 443) == many[:4]
    with pytest.raises(Refused):
        await outbound.checked("many.example", 443)
    await outbound.close()


async def test_no_connection_is_used_twice_as_an_address_may_belong_to_two_names() -> None:
    came: list[bytes] = []

    async def answer(stream: SocketStream) -> None:
        async with stream:
            came.append(await stream.receive())
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            async for more in stream:
                came[-1] += more

    outbound = Outbound(private_hosts=["one.example", "two.example"], resolve=Names(["127.0.0.1"], ["127.0.0.1"]))
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as inner, anyio.create_task_group() as tasks:
        tasks.start_soon(inner.serve, answer)
        port = inner.extra(SocketAttribute.local_port)
        for name in ("one.example", "two.example"):
            assert (await outbound.post(f"http://{name}:{port}/", body=b"", headers={})).status == 200
        tasks.cancel_scope.cancel()
    assert [head.count(b"POST / HTTP/1.1") for head in came] == [1, 1]
    await outbound.close()
