"""How answers leave: their heads together with what follows, and never later than that."""

import asyncio

import anyio
import pytest

from preloop.listen import Joined

pytestmark = pytest.mark.anyio
HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Recording(asyncio.Transport):
    """Where the bytes go: each write is one system call."""

    def __init__(self) -> None:
        super().__init__()
        self.did: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.did.append(bytes(data))

    def close(self) -> None:
        self.did.append(b"closed")


@pytest.fixture
async def out() -> tuple[Recording, Joined]:
    recording = Recording()
    return recording, Joined(recording, asyncio.get_running_loop())


async def test_a_head_and_its_body_are_one_write(out: tuple[Recording, Joined]) -> None:
    recording, joined = out
    for _ in range(2):
        joined.write(HEAD)
        joined.write(b"ok")
    assert recording.did == [HEAD + b"ok"] * 2
    await anyio.lowlevel.checkpoint()
    assert len(recording.did) == 2


async def test_a_head_does_not_wait_for_a_body_that_is_late(out: tuple[Recording, Joined]) -> None:
    recording, joined = out
    joined.write(HEAD)
    assert not recording.did
    await anyio.lowlevel.checkpoint()
    assert recording.did == [HEAD]
    joined.write(b"ok")
    assert recording.did == [HEAD, b"ok"]


async def test_a_head_goes_out_before_its_connection_closes(out: tuple[Recording, Joined]) -> None:
    recording, joined = out
    joined.write(HEAD)
    joined.close()
    assert recording.did == [HEAD, b"closed"]
    await anyio.lowlevel.checkpoint()
    assert len(recording.did) == 2
