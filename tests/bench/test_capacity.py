"""The capacity page says what the models compute, and the models what is known of queues."""

import random
import tomllib

import pytest

from bench import capacity_page as page
from bench.capacity_model import Clock, Station, Writer, percentile, streamed
from bench.capacity_scale import load, wall


def test_the_tables_of_the_page_are_what_the_model_computes_from_the_file() -> None:
    text = page.PAGE.read_text()
    assert text.count("<!-- end -->") == len(page.TABLES)
    assert page.filled(text) == text


def test_every_figure_says_what_it_is_and_where_it_comes_from() -> None:
    for name, one in tomllib.loads(page.DATA.read_text())["cost"].items():
        assert set(one) == {"what", "value", "unit", "from"}, name
        assert one["from"] and one["what"], name


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_a_station_lets_wait_as_long_as_pollaczek_and_khinchin_say(busy: float) -> None:
    clock, chance, waited = Clock(), random.Random(7), []
    station, service, came = Station(clock), 1.0, 0.0

    def arrive() -> None:
        began = clock.now
        station.take(service, lambda: waited.append(clock.now - began - service))

    for _ in range(60_000):
        came += chance.expovariate(busy)
        clock.at(came, arrive)
    clock.run(came + 1000)
    assert sum(waited) / len(waited) == pytest.approx(busy / (2 * (1 - busy)), rel=0.06)
    assert station.busy_s == pytest.approx(60_000)


def test_a_writer_commits_together_what_waits() -> None:
    clock, done = Clock(), []
    writer = Writer(clock, 1.0)
    for at in (0.0, 0.1, 0.2, 2.5):
        clock.at(at, lambda: writer.take(lambda: done.append(clock.now)))
    clock.run(10)
    assert done == [1.0, 2.0, 2.0, 3.5]


def test_more_than_a_runner_can_read_comes_late_and_is_still_stored() -> None:
    slow = page.costs() | {"line_cpu_us": 200.0}
    held, over = streamed(page.costs(), 10, 200, 2), streamed(slow, 50, 200, 2)
    assert held.p99_s < 0.5 < over.p99_s
    assert over.lines_per_s < 6000 < 1e6 / 200 * 1.3


def test_twice_the_agents_ask_for_twice_as_much() -> None:
    one, two = load(page.costs(), 5_000), load(page.costs(), 10_000)
    assert two.writes == pytest.approx(2 * one.writes, rel=0.02)
    for role in two.cpu:
        assert two.cpu[role] == pytest.approx(2 * one.cpu[role], rel=0.02)
        assert wall(page.costs(), role) > 0


def test_a_percentile_counts_what_each_value_weighs() -> None:
    assert percentile([(3.0, 1), (1.0, 98), (2.0, 1)], 0.99) == 2.0
    assert percentile([(1.0, 1)], 0.5) == 1.0
