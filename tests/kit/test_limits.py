"""How often somebody may do something."""

from kit.limits import KEYS, Pace


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


def test_a_burst_and_then_one_each_time() -> None:
    now = Hand()
    pace = Pace(burst=3, every_s=20, now=now)
    assert [pace.take("a") for _ in range(5)] == [True, True, True, False, False]
    assert (pace.spent("a"), pace.wait_s("a")) == (True, 20)
    now.at += 5
    assert pace.wait_s("a") == 15
    now.at += 15
    assert [pace.wait_s("a"), pace.take("a"), pace.take("a")] == [0, True, False]
    now.at += 3600
    assert [pace.take("a") for _ in range(4)] == [True, True, True, False]


def test_each_key_has_its_own() -> None:
    pace = Pace(burst=1, every_s=60, now=Hand())
    assert [pace.take("a"), pace.take("b"), pace.take("a"), pace.take("b")] == [True, True, False, False]
    assert pace.wait_s("c") == 0


def test_what_was_quiet_longest_is_forgotten_and_nothing_grows() -> None:
    pace = Pace(burst=1, every_s=3600, now=Hand())
    assert all(pace.take(str(number)) for number in range(KEYS + 1))
    assert (pace.spent("0"), pace.spent("1")) == (False, True)
