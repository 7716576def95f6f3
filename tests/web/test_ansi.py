"""A terminal's line as a page shows it."""

import time

import pytest

from web.ansi import segments

BROKEN = ("\x1b[31mab" * 8000, "\x1b]" * 30_000, "\x1b[" + ";" * 60_000 + "m", "\x1b[1" * 20_000, "aб" * 30_000)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain <b>", [("", "plain <b>")]),
        ("\x1b[31mred\x1b[0m ok", [("red", "red"), ("", " ok")]),
        ("\x1b[1;92mok\x1b[39m still", [("bold green", "ok"), ("bold", " still")]),
        ("\x1b[38;5;196mx\x1b[38;2;1;2;31;4my", [("", "x"), ("underline", "y")]),
        ("\x1b[8mconcealed\x1b[7;41mreversed", [("", "concealed"), ("", "reversed")]),
        ("\x1b[2K\x1b[1G10%\x1b[?25l", [("", "10%")]),
        ("\x1b]8;;https://evil.example\x07here\x1b]8;;\x1b\\", [("", "here")]),
        ("\x1b]0;never ended", [("", "0;never ended")]),
        ("a\u202eb\x1b", [("", "a"), ("char", "U+202E"), ("", "b"), ("char", "U+001B")]),
    ],
)
def test_colours_stay_and_other_sequences_go(text: str, shown: list[tuple[str, str]]) -> None:
    assert segments(text) == shown


def test_an_escape_in_a_word_hides_no_foreign_letter() -> None:
    assert ("char", "U+0430") in segments("p\x1b[mаypal")


@pytest.mark.parametrize("text", BROKEN)
def test_a_long_line_of_escapes_holds_nobody_up(text: str) -> None:
    began = time.process_time()
    segments(text)
    assert time.process_time() - began < 5
