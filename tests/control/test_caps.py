"""What one session may have open and how often it may ask."""

from contextlib import ExitStack

import pytest

from control.identity.caps import Caps, Share
from kit.errors import Throttled


def full(caps: Caps, session: str, *, lasting: bool = False) -> str:
    """The code of the refusal."""
    with pytest.raises(Throttled) as caught, caps.inside(session, lasting=lasting):
        pass
    assert caught.value.hint
    return caught.value.code


def test_calls_and_streams_are_counted_apart_and_given_back() -> None:
    caps = Caps(Share(calls=2, streams=1, per_second=1000))
    with ExitStack() as held:
        held.enter_context(caps.inside("ses_1"))
        with caps.inside("ses_1"):
            assert full(caps, "ses_1") == "too_many_calls"
            held.enter_context(caps.inside("ses_1", lasting=True))
            assert full(caps, "ses_1", lasting=True) == "too_many_streams"
            held.enter_context(caps.inside("ses_2"))
        held.enter_context(caps.inside("ses_1"))
    for lasting in (False, True):
        with caps.inside("ses_1", lasting=lasting):
            pass


def test_a_call_that_breaks_gives_its_place_back() -> None:
    caps = Caps(Share(calls=1, streams=1, per_second=1000))
    with pytest.raises(ZeroDivisionError), caps.inside("ses_1"):
        raise ZeroDivisionError
    with caps.inside("ses_1"):
        pass


def test_who_asks_too_often_is_told_and_others_are_not_kept_waiting() -> None:
    caps = Caps(Share(calls=10, streams=1, per_second=1))
    for _ in range(2):
        with caps.inside("ses_1"):
            pass
    assert full(caps, "ses_1") == "too_often"
    with caps.inside("ses_2"):
        pass
