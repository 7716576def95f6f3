"""Bytes into lines."""

from hypothesis import given
from hypothesis import strategies as st

from runner.lines import CONTINUED, LineSplitter


def pieces(splitter: LineSplitter, *chunks: bytes) -> list[str]:
    lines = [line.text for chunk in chunks for line in splitter.feed(chunk)]
    return [*lines, *splitter.rest()]


def test_what_cannot_be_decoded_or_stored_is_replaced() -> None:
    assert pieces(LineSplitter(), b"a\xff\0b\n") == ["a��b"]


def test_the_middle_of_a_long_line_never_looks_like_a_line_of_its_own() -> None:
    assert pieces(LineSplitter(limit=4), b"12345678X\nok\n") == ["1234", CONTINUED + "5678", CONTINUED + "X", "ok"]


def test_reading_on_inside_a_long_line_says_so() -> None:
    assert pieces(LineSplitter(continued=True), b"X\nok\n") == [CONTINUED + "X", "ok"]


def test_a_line_of_exactly_the_limit_is_whole() -> None:
    assert pieces(LineSplitter(limit=4), b"1234\n12\n") == ["1234", "12"]


@given(st.binary(max_size=60), st.integers(1, 9), st.data())
def test_how_the_bytes_are_cut_into_chunks_makes_no_difference(content: bytes, limit: int, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5)))
    chunks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    assert pieces(LineSplitter(limit=limit), *chunks) == pieces(LineSplitter(limit=limit), content)


@given(st.binary(max_size=60), st.integers(1, 9))
def test_reading_on_after_any_line_gives_the_rest(content: bytes, limit: int) -> None:
    whole = pieces(LineSplitter(limit=limit), content)
    for number, line in enumerate(LineSplitter(limit=limit).feed(content), start=1):
        rest = LineSplitter(limit=limit, continued=line.cut)
        assert pieces(rest, content[len(content) - line.pending :]) == whole[number:]
