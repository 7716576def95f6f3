"""Where the time went: bars on one line, in order, seen however short, and honest about what is not drawn."""

from datetime import UTC, datetime, timedelta

from web.waterfall import Span, waterfall

START = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


def span(begin: float, end: float | None, label: str = "pay", **more: bool) -> Span:
    over = None if end is None else START + timedelta(seconds=end)
    return Span(kind="tool", label=label, href="#tcl_1", begin=START + timedelta(seconds=begin), end=over, **more)


def test_bars_stand_where_their_time_was() -> None:
    drawn = waterfall([span(5, 10, "second"), span(0, 5, "first")], START, START)
    assert [(bar.label, bar.x, bar.width) for bar in drawn.bars] == [("first", 0, 500), ("second", 500, 500)]
    assert (drawn.total_ms, drawn.more) == (10_000, 0)


def test_the_line_is_as_long_as_the_run_though_nothing_happened_at_its_end() -> None:
    drawn = waterfall([span(0, 5)], START, START + timedelta(seconds=20))
    assert (drawn.bars[0].width, drawn.total_ms) == (250, 20_000)


def test_what_took_no_time_is_seen_and_stays_inside() -> None:
    bar = waterfall([span(0, 100), span(100, 100, "end")], START, START).bars[-1]
    assert bar.width > 0
    assert bar.x + bar.width <= 1000


def test_what_goes_on_ends_now_and_says_so() -> None:
    [bar] = waterfall([span(2, None)], START, START + timedelta(seconds=8)).bars
    assert (bar.open, bar.ms) == (True, 6000)
    assert bar.name == "pay: 6.0 s and still going, 2.0 s after the start"


def test_what_goes_on_reaches_the_right_edge_though_the_run_has_no_length_yet() -> None:
    [just] = waterfall([span(0, None)], START, START).bars
    assert (just.x, just.width, just.open) == (0, 1000, True)
    late, open_ = waterfall([span(3, None, "open"), span(0, 12, "late")], START, START + timedelta(seconds=4)).bars
    assert (late.label, open_.x, open_.x + open_.width) == ("late", 250, 1000)
    brief = waterfall([span(0, 100), span(100, None)], START, START + timedelta(seconds=100)).bars[-1]
    assert brief.width > 0 and brief.x + brief.width == 1000


def test_a_failure_is_told_in_words() -> None:
    [bar] = waterfall([span(0, 1, bad=True)], START, START).bars
    assert bar.name == "pay: 1.0 s failed, 0 ms after the start"


def test_of_too_many_the_longest_and_the_open_are_drawn_and_the_rest_is_counted() -> None:
    spans = [span(n, n + 1 + n % 7, str(n)) for n in range(100)] + [span(99.5, None, "open")]
    drawn = waterfall(spans, START, START + timedelta(seconds=100), most=20)
    assert (len(drawn.bars), drawn.more) == (20, 81)
    assert "open" in [bar.label for bar in drawn.bars]
    assert min(bar.ms for bar in drawn.bars if not bar.open) >= 6000  # of seven lengths up to 7 s
    assert [bar.x for bar in drawn.bars] == sorted(bar.x for bar in drawn.bars)


def test_of_too_many_those_that_failed_are_drawn_however_short() -> None:
    spans = [span(n, n + 1, str(n)) for n in range(100)] + [span(50, 50, "no", bad=True)]
    assert "no" in [bar.label for bar in waterfall(spans, START, START, most=20).bars]


def test_an_empty_run_has_no_bars() -> None:
    assert waterfall([], START, START).bars == []
