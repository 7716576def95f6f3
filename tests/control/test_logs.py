"""Lines are numbered without gaps whoever writes them, and are read in pages."""

import pytest

from control.executions import logs
from kit.db import Lane
from tests.control.house import ACCOUNT, House


async def write(house: House, execution_id: str, count: int, name: str) -> None:
    lines = [("2026-11-22T10:00:00.000000Z", "agent", "info", f"{name} {number}") for number in range(count)]
    cursor = f"after {name}"
    await house.db.write(lambda tx: logs.append(tx, ACCOUNT, execution_id, lines, cursor=cursor), lane=Lane.BULK)


async def test_pages_follow_each_other_without_gap_and_the_tail_is_the_end(house: House) -> None:
    execution_id = await house.start()
    for chunk in range(logs.CHUNKS + 5):
        await write(house, execution_id, 3, f"chunk {chunk}")
    await house.db.write(lambda tx: logs.story(tx, ACCOUNT, execution_id, "info", "Tool: pay"))
    found: list[logs.Line] = []
    while page := await logs.read(house.db, ACCOUNT, execution_id, after=found[-1].number if found else 0):
        found += page
    assert [line.number for line in found] == list(range(1, (logs.CHUNKS + 5) * 3 + 2))
    assert found[-1].text == "Tool: pay"
    assert await logs.tail(house.db, ACCOUNT, execution_id, 10) == found[-10:]
    assert [line.number for line in await logs.read(house.db, ACCOUNT, execution_id, after=4)][:2] == [5, 6]


async def test_the_engine_s_cursor_is_that_of_the_last_chunk_it_wrote(house: House) -> None:
    execution_id = await house.start()
    assert await house.db.write(lambda tx: logs.cursor(tx, execution_id)) == ""
    await write(house, execution_id, 2, "first")
    await write(house, execution_id, 2, "second")
    await house.db.write(lambda tx: logs.story(tx, ACCOUNT, execution_id, "info", "Tool: pay"))
    assert await house.db.write(lambda tx: logs.cursor(tx, execution_id)) == "after second"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("pays 10 €, نعم, 👩\u200d💻", "pays 10 €, نعم, 👩\u200d💻"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x1b[2J\x85\u2028\u2029\u202e\ufeff", r"\x1b[2J\x85\u2028\u2029\u202e\ufeff"),
    ],
)
def test_a_line_of_the_story_is_one_line_that_steers_nothing(text: str, line: str) -> None:
    assert logs.one_line(text) == line
