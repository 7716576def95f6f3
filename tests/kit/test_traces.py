import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit import traces
from kit.traces import Context

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        (f"00-{TRACE}-{PARENT}-01", f"00-{TRACE}-{PARENT}-01"),
        (f" 00-{TRACE}-{PARENT}-03 ", f"00-{TRACE}-{PARENT}-01"),  # only one flag is known to us
        (f"00-{TRACE}-{PARENT}-00", f"00-{TRACE}-{PARENT}-00"),
        (f"cc-{TRACE}-{PARENT}-01-what-comes-later", f"00-{TRACE}-{PARENT}-01"),
        (f"00-{TRACE}-{PARENT}-01-more", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT}", None),
        (None, None),
    ],
)
def test_a_callers_trace_is_kept_as_the_standard_says_or_begun_anew(header: str | None, kept: str | None) -> None:
    assert traces.traceparent(header) == kept


@given(st.text(max_size=80))
def test_whatever_a_caller_sends_is_a_trace_or_nothing(header: str) -> None:
    kept = traces.traceparent(header)
    assert kept is None or traces.context("exe_1", kept).trace < 2**128


def test_a_callers_trace_goes_on_and_another_is_named_by_what_it_is_about() -> None:
    kept = f"00-{TRACE}-{PARENT}-00"
    assert traces.context("exe_1", kept) == Context(trace=int(TRACE, 16), parent=int(PARENT, 16), sampled=False)
    own = traces.context("exe_1")
    assert (own.parent, own.sampled) == (None, None)
    assert own == traces.context("exe_1") != traces.context("exe_2")


def test_ids_are_as_long_as_they_may_be_and_differ_by_each_name() -> None:
    spans = {traces.span_of(*names) for names in (("a",), ("b",), ("a", "b"), ("ab",), ("a", "b", "c"))}
    assert len(spans) == 5 and max(spans) < 2**64
    assert 0 < traces.trace_of("a") < 2**128
