"""What an agent prints is stored without secrets, also where a long line was cut."""

from collections.abc import AsyncIterator

from kit.masking import MASK
from kit.redaction import Redactor
from runner.engine import LogLine
from runner.lines import LIMIT, LineSplitter
from runner.redacted import redacted

KEY = "sk-provider-0123456789abcdef"


async def _stored(output: str) -> list[str]:
    """The lines of an output after the splitter, one cursor each, as they are stored."""
    splitter = LineSplitter()
    texts = [line.text for line in splitter.feed(output.encode())]
    texts += splitter.rest()

    async def lines() -> AsyncIterator[LogLine]:
        for number, text in enumerate(texts):
            yield LogLine(text=text, at="2026-01-01T00:00:00Z", cursor=str(number))

    found = [line async for line in redacted(lines(), Redactor([KEY]))]
    assert [line.cursor for line in found] == [str(number) for number in range(len(texts))]
    return [line.text for line in found]


async def test_short_lines_go_on_at_once_without_their_secrets() -> None:
    assert await _stored(f"one\nkey {KEY}\ntwo\n") == ["one", f"key {MASK}", "two"]


async def test_a_secret_on_the_edge_of_a_cut_line_is_in_neither_piece() -> None:
    for part in range(1, len(KEY)):
        lines = await _stored("x" * (LIMIT - part) + KEY + "\nnext\n")
        assert lines == ["x" * (LIMIT - part) + MASK, "… ", "next"]


async def test_a_secret_on_each_edge_of_a_line_of_three_pieces() -> None:
    middle = "y" * (LIMIT - len(KEY))
    first, second, third = await _stored("x" * (LIMIT - 5) + KEY + middle + KEY + "\n")
    assert first == "x" * (LIMIT - 5) + MASK
    assert KEY[5:] not in second
    assert KEY[:5] not in second.removeprefix("… ").strip("y")
    assert third.endswith(MASK) or MASK in second
    assert KEY not in first + second + third
