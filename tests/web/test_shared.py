"""Sockets at one place look once, and nobody is told of an emptiness that is over."""

import anyio
import pytest
from anyio.lowlevel import checkpoint

from web.shared import KEPT, News, Shared

NOTHING = News(texts=(), seq=1, line=1)
LINES = News(texts=("line 2",), seq=1, line=2)


class Record:
    """Answers looks in turn, each when it may."""

    def __init__(self, *answers: News | None) -> None:
        self._answers = list(answers)
        self.looks = 0
        self.may = anyio.Event()

    async def look(self) -> News:
        self.looks += 1
        answer = self._answers.pop(0)
        await self.may.wait()
        if answer is None:
            raise OSError("the socket that looked is gone")
        return answer


async def ask(shared: Shared, record: Record, heard: list[News]) -> None:
    heard.append(await shared.news("place", record.look))


async def test_many_at_one_place_look_once_also_later() -> None:
    shared, record, heard = Shared(), Record(LINES), list[News]()
    async with anyio.create_task_group() as tasks:
        for _ in range(100):
            tasks.start_soon(ask, shared, record, heard)
        await checkpoint()
        record.may.set()
    await ask(shared, record, heard)
    assert heard == [LINES] * 101
    assert record.looks == 1


async def test_who_asks_while_somebody_finds_nothing_looks_again() -> None:
    shared, record, heard = Shared(), Record(NOTHING, LINES), list[News]()
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(ask, shared, record, heard)
        await checkpoint()
        record.may.set()
    assert heard == [NOTHING, LINES, LINES]
    assert record.looks == 2


async def test_who_waited_for_a_look_that_failed_looks_itself() -> None:
    shared, record, heard = Shared(), Record(None, LINES), list[News]()

    async def gone() -> None:
        with pytest.raises(OSError, match="gone"):
            await shared.news("place", record.look)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(gone)
        await checkpoint()
        tasks.start_soon(ask, shared, record, heard)
        await checkpoint()
        record.may.set()
    assert heard == [LINES]


async def test_what_is_kept_is_bounded() -> None:
    shared, heard = Shared(), list[News]()
    for place in range(KEPT * 2):
        record = Record(LINES)
        record.may.set()
        heard.append(await shared.news(place, record.look))
    assert len(shared._kept) == KEPT
    record = Record(News(texts=("x" * 10**6,), seq=1, line=2), LINES)
    record.may.set()
    assert (await shared.news("heavy", record.look)).line == 2
    assert await shared.news("heavy", record.look) == LINES
