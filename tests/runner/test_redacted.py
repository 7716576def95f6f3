"""What an agent prints is stored without secrets, also where a long line was cut."""

import json
from base64 import b64encode
from collections.abc import AsyncIterator

import pytest

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


@pytest.mark.parametrize("escaped", [KEY.replace("-", "\\u002d"), KEY.replace("s", "\\u0073"), "\\u0020" + KEY])
async def test_an_event_is_looked_at_in_what_its_escapes_stand_for(escaped: str) -> None:
    (line,) = await _stored(f'{{"type":"x","deep":[{{"{escaped}":"a \\"{escaped}\\"\\n"}}]}}\n')
    ((name, text),) = json.loads(line)["deep"][0].items()
    assert (name.strip(), "".join(text.split(" "))) == (MASK, f'a"{MASK}"\n')


async def test_an_event_stays_one_where_what_is_masked_follows_an_escape() -> None:
    (line,) = await _stored(json.dumps({"text": "out:\n" + b64encode(KEY.encode()).decode()}) + "\n")
    assert json.loads(line) == {"text": f"out:\n{MASK}"}


@pytest.mark.parametrize(
    "event",
    ['{"a": "\\u002d\\/\\ud800"}', '{"a":' * 3000 + '"\\n"' + "}" * 3000, '{"a": "\\u002d', '{"a": 1e5, "a": "\\n"}'],
)
async def test_an_event_without_a_secret_stays_letter_by_letter(event: str) -> None:
    assert await _stored(event + "\n") == [event]


async def test_what_is_masked_in_an_event_can_be_stored_whatever_stands_beside_it() -> None:
    (line,) = await _stored('{"a": "\\ud800\\u0000 ' + KEY.replace("-", "\\u002d") + '"}\n')
    assert json.loads(line) == {"a": f"\ufffd\0 {MASK}"}
    assert "\0" not in line
