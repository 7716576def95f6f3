"""A call is broken off from outside: what comes behind it goes on, and nobody else's cancellation is swallowed."""

import asyncio

import pytest

from gateway.call import Reading


async def begun(reading: Reading, said: list[str]) -> "asyncio.Task[None]":
    """A task that waits inside of it."""
    waits = asyncio.Event()

    async def work() -> None:
        with reading:
            waits.set()
            await asyncio.Event().wait()
        said.append("went on")
        await asyncio.sleep(0)
        said.append("ended")

    task = asyncio.create_task(work())
    await waits.wait()
    return task


async def test_whoever_reads_goes_on_behind_it() -> None:
    reading, said = Reading(), list[str]()
    task = await begun(reading, said)
    reading.cancel()
    reading.cancel()
    await task
    assert (said, task.cancelling()) == (["went on", "ended"], 0)


async def test_one_that_was_broken_off_before_never_waits() -> None:
    reading = Reading()
    reading.cancel()
    said = list[str]()
    with reading:
        await asyncio.Event().wait()
        said.append("waited")
    await asyncio.sleep(0)
    assert said == []


async def test_a_task_that_is_cancelled_as_well_ends() -> None:
    reading, said = Reading(), list[str]()
    task = await begun(reading, said)
    reading.cancel()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert said == []


async def test_breaking_off_what_is_over_touches_nobody() -> None:
    reading = Reading()
    with reading:
        pass
    reading.cancel()
    await asyncio.sleep(0)
    me = asyncio.current_task()
    assert me
    assert me.cancelling() == 0
