"""What people read: durations, money, and text that tries to deceive."""

from datetime import UTC, datetime, timedelta

import pytest

from kit import masking
from web import arguments, charts
from web.format import Piece, ago, duration, money, pieces


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (None, "—"),
        (0, "0 ms"),
        (840, "840 ms"),
        (5230, "5.2 s"),
        (59_999, "59.9 s"),
        (252_000, "4 min 12 s"),
        (7_380_000, "2 h 03 min"),
        (260_000_000, "3 d 0 h"),
    ],
)
def test_durations_have_two_units_at_most(ms: int | None, text: str) -> None:
    assert duration(ms) == text


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        ("0.00", "$0.00"),
        ("0.0123", "$0.0123"),
        ("0.10", "$0.10"),
        ("0.00001", "$0.00001"),
        ("1234.5", "$1,234.50"),
        ("0.5", "$0.50"),
        (None, "unpriced"),
    ],
)
def test_money_keeps_the_digits_that_count(usd: str | None, text: str) -> None:
    assert money(usd) == text


def test_ago_turns_into_a_date() -> None:
    now = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    assert [ago(now - timedelta(seconds=s), now) for s in (1, 42, 300, 7200)] == [
        "just now",
        "42 s ago",
        "5 min ago",
        "2 h ago",
    ]
    assert ago(now - timedelta(days=3), now) == "19 Nov 2026, 09:30 UTC"


def named(text: str) -> str:
    return "".join(f"[{piece.text}]" if piece.hidden else piece.text for piece in pieces(text))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u17b4b\u17b5c", "a[U+17B4]b[U+17B5]c"),
        ("a\u180bb\U000e0100c", "a[U+180B]b[U+E0100]c"),
        ("invoice\u202egnp.exe", "invoice[U+202E]gnp.exe"),
        ("pay\u200bpal", "pay[U+200B]pal"),
        ("a\x00b\x1b[31m", "a[U+0000]b[U+001B][31m"),
        ("p\u0430ypal.com", "p[U+0430]ypal.com"),  # a Cyrillic а among Latin letters
        ("Привет мир", "Привет мир"),  # a whole word of one alphabet is that language
        ("Grüße, 東京 ✓", "Grüße, 東京 ✓"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("no\u00a0break", "no[U+00A0]break"),
        ("", ""),
    ],
)
def test_what_can_not_be_seen_is_named(text: str, shown: str) -> None:
    assert named(text) == shown


def test_arguments_are_typed_rows_with_nothing_cut() -> None:
    long = "x" * 5000
    rows = arguments.rows({"to": {"name": "A"}, "ids": [1, 2], "on": True, "note": long, "none": None, "empty": {}})
    shown = {"".join(p.text for p in row.path): (row.kind, "".join(p.text for p in row.value)) for row in rows}
    assert shown == {
        "to.name": ("text", "A"),
        "ids[0]": ("number", "1"),
        "ids[1]": ("number", "2"),
        "on": ("yes/no", "true"),
        "note": ("text", long),
        "none": ("nothing", "null"),
        "empty": ("empty", "{}"),
    }


def test_secrets_are_masked_by_name_wherever_they_are() -> None:
    args = {"auth": {"password": "hunter2"}, "apiKey": "k", "max_tokens": 5, "headers": [{"Authorization": "Bearer x"}]}
    rows = arguments.rows(args)
    masked = {"".join(p.text for p in row.path) for row in rows if row.masked}
    assert masked == {"auth.password", "apiKey", "headers[0].Authorization"}
    assert "hunter2" not in str(rows)
    assert "hunter2" not in str(masking.masked(args))
    unset = {"api_key": None, "token": "", "has_secret": True}
    assert masking.masked(unset) == unset
    assert masking.masked({"pin": 0, "cvv": [7]}) == {"pin": masking.MASK, "cvv": [masking.MASK]}


def test_pieces_put_together_are_the_text() -> None:
    assert pieces("plain") == [Piece("plain")]


def test_bars_fill_the_height_and_the_shortest_can_be_clicked() -> None:
    bars = charts.bars([10, 100_000, None])
    assert [bar.height for bar in bars] == [6, 48, 6]
    assert charts.bars([]) == []


def test_a_split_fills_the_line_in_order() -> None:
    parts = charts.split(queued=10, active=0, waiting=99_990)
    assert [part.name for part in parts] == ["queued", "waiting"]
    assert sum(part.width for part in parts) == 1000
    assert charts.split(queued=0, active=0, waiting=0) == []
