"""A pod's output, through streams that break, come twice and say nothing."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from runner.kubernetes_logs import PodLog
from runner.lines import CONTINUED, LIMIT
from tests.runner.clusters import Bench, benched
from tests.waiting import until

T1, T2 = "2026-11-22T09:30:36.000000001Z", "2026-11-22T09:30:36.5Z"
LONG = "x" * (LIMIT + 20_000)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with benched(tmp_path) as bench:
        yield bench


def texts(log: PodLog, stream: bytes, size: int = 1 << 16) -> list[str]:
    chunks = (stream[at : at + size] for at in range(0, len(stream), size))
    return [line.text for chunk in chunks for line in log.feed(chunk)] + [line.text for line in log.rest()]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_lines_are_found_however_the_bytes_are_cut(size: int) -> None:
    stream = f"{T1} one\n{T1} \n{T2} two \ufffd\n{T2} three".encode()
    assert texts(PodLog(""), stream, size) == ["one", "", "two \ufffd", "three"]


def test_lines_of_one_moment_are_told_apart_by_their_number() -> None:
    stream = "".join(f"{T1} {text}\n" for text in "abc").encode() + f"{T2} d\n".encode()
    lines = list(PodLog("").feed(stream))
    for number, line in enumerate(lines, start=1):
        assert texts(PodLog(line.cursor), stream) == ["a", "b", "c", "d"][number:]


def test_a_cursor_inside_a_long_line_goes_on_there() -> None:
    stream = f"{T1} {LONG}\n{T2} end\n".encode()
    lines = list(PodLog("").feed(stream))
    assert len(lines) == 3
    assert "".join(line.text.removeprefix(CONTINUED) for line in lines[:2]) == LONG
    assert texts(PodLog(lines[0].cursor), stream, 999) == [line.text for line in lines[1:]]


def test_it_asks_from_the_second_of_its_cursor() -> None:
    log = PodLog("")
    assert log.reopen() == ""
    list(log.feed(f"{T2} one\n".encode()))
    assert log.reopen() == "2026-11-22T09:30:36Z"


def test_what_a_node_says_itself_is_no_output() -> None:
    said = "unable to retrieve container logs for containerd://0123456789abcdef0123456789abcdef\n"
    assert texts(PodLog(""), f"{said}{T1} one\nfailed to watch file\n".encode()) == ["one"]


def test_output_that_was_rotated_away_is_said() -> None:
    first = next(iter(PodLog("").feed(f"{T1} one\n".encode())))
    said = texts(PodLog(first.cursor), f"{T2} late\n".encode())
    assert said[1:] == ["late"]
    assert "may be lost" in said[0]


async def test_lines_come_while_the_agent_runs_and_reading_goes_on_after_a_cursor(bench: Bench) -> None:
    agent = await bench.begin()
    agent.say("one")
    cursor = await bench.first("one")
    agent.say("two")
    agent.end(0)
    assert await bench.output(cursor) == ["two"]


@pytest.mark.parametrize("cut", [10, 40, 55, 75])
async def test_a_stream_that_breaks_anywhere_loses_and_doubles_nothing(bench: Bench, cut: int) -> None:
    agent = await bench.begin()
    bench.cluster.cut_after = cut
    for number in range(5):
        agent.say(f"line {number}", at=f"2026-11-22T09:30:36.{number // 2:09}Z")
    got: list[str] = []

    async with anyio.create_task_group() as group:
        group.start_soon(bench.follow, got)
        await until(lambda: len(got) == 5, what="five lines")
        agent.say("line 5", at="2026-11-22T09:30:36.000000002Z")
        agent.end(0)
    assert got == [f"line {number}" for number in range(6)]


async def test_a_stream_that_says_nothing_is_opened_anew(tmp_path: Path) -> None:
    """What stands between us and the node may have dropped it without a word."""
    async with benched(tmp_path, silence_s=0.2) as bench:
        agent = await bench.begin()
        agent.say("one")
        opened = ("", "pods/log", "get")
        async with anyio.create_task_group() as group:
            group.start_soon(bench.output)
            await until(lambda: bench.cluster.asked.count(opened) >= 3, what="a third stream")
            agent.end(0)
        assert await bench.output() == ["one"]


async def test_much_output_arrives_whole_and_in_order(bench: Bench) -> None:
    agent = await bench.begin()
    for number in range(5000):
        agent.say(str(number), at=f"2026-11-22T09:30:{number // 1000:02}.{number % 1000:09}Z")
    agent.end(0)
    assert await bench.output() == [str(number) for number in range(5000)]
