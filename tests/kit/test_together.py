"""Two waits at once."""

import anyio
import pytest

from kit.errors import Missing, Unavailable
from kit.together import together


async def test_both_answers_come_in_their_order() -> None:
    later = anyio.Event()

    async def slow() -> int:
        await later.wait()
        return 1

    async def fast() -> str:
        later.set()
        return "two"

    assert await together(slow, fast) == (1, "two")


async def test_the_first_failure_comes_out_as_it_is_when_the_other_has_ended() -> None:
    failed, ended = anyio.Event(), []

    async def fails() -> None:
        failed.set()
        raise Missing("image_missing", "There is none.")

    async def goes_on() -> None:
        await failed.wait()
        await anyio.lowlevel.checkpoint()
        ended.append(True)
        raise Unavailable("late", "Too late.")

    with pytest.raises(Missing):
        await together(fails, goes_on)
    assert ended == [True]
