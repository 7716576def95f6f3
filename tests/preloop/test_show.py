"""What an agent may write onto a person's terminal: text, and colour."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from preloop import show


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[2J\x1b[Hgone", "gone"),  # clear, home
        ("a\x1b[1A\x1b[2Kb", "ab"),  # up a line, erase it
        ("a\x1b[?25l\x1b[>4;1m\x1b[1 qb", "ab"),  # modes, with private and intermediate bytes
        ("\x1b]0;title\x07a", "a"),
        ("\x1b]8;;https://evil.example\x1b\\pay here\x1b]8;;\x1b\\", "pay here"),  # a link that says something else
        ("\x1b]52;c;cm0gLXJm\x07a", "a"),  # the clipboard
        ('\x1bP$q"p\x1b\\a', "a"),
        ("\x9b2Ja\x9d0;title\x9cb", "ab"),  # the same in C1
        ("\x1bc\x1b7\x1b(0a", "a"),  # reset, save, another character set
        ("a\rb\x08\x07\x00c", "abc"),
        ("pay\u202eevil", "payU+202Eevil"),
        ("pay\u2066\u200b \U000e0041\ufeff", "payU+2066U+200B U+E0041U+FEFF"),
        ("unfinished \x1b]0;keeps its words", "unfinished 0;keeps its words"),
        ("tab\there", "tab\there"),
    ],
)
def test_what_steers_a_terminal_is_gone_and_what_hides_is_named(text: str, left: str) -> None:
    assert show.clean(text) == left
    assert show.coloured(text).plain == left


def test_json_has_every_character_and_none_that_hides(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"told": "gr\xfc\xdfe \u202e\u200b\x9b2J\x1b[2J\U000e0041"}
    show.as_json(value)
    written = capsys.readouterr().out
    assert json.loads(written) == value
    assert written.replace("\n", "").isprintable()
    assert "gr\xfc\xdfe \\u202e\\u200b\\u009b2J" in written


def on_a_terminal(text: str) -> str:
    console = Console(force_terminal=True, color_system="truecolor", width=200, no_color=False, legacy_windows=False)
    with console.capture() as shown:
        console.print(show.coloured(text), soft_wrap=True)
    return shown.get().removesuffix("\n")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m plain", "\x1b[31mred\x1b[0m plain"),
        ("\x1b[38;5;196mred\x1b[m", "\x1b[38;5;196mred\x1b[0m"),
        ("\x1b[8mhidden\x1b[0m", "hidden"),
        ("\x1b[" + "9" * 5000 + "mword", "word"),
        ("\x1b[5;32mgreen\x1b[0m", "\x1b[32mgreen\x1b[0m"),
    ],
)
def test_colour_stays_and_nothing_blinks_or_hides(text: str, shown: str) -> None:
    assert on_a_terminal(text) == shown
    assert "\x1b" not in show.clean(text)


PIECES = st.sampled_from(
    ["\x1b", "[", "]", "0;", "31m", "2J", "\x07", "\x9b", "\x9c", "\x1b\\", "\r", "P", "text", "8;;", "m"]
)


@given(st.lists(PIECES, max_size=30).map("".join) | st.text())
def test_whatever_is_written_no_other_sequence_comes_through(text: str) -> None:
    kept = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(text))
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", kept)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", show.clean(text))
