"""A task's output as a manager passes it on, in pieces of any size and with words of its own between."""

import pytest

from runner.swarm_logs import TaskLog

AT = ("2026-01-02T03:04:05.000000001Z", "2026-01-02T03:04:05.000000002Z")


def frame(text: str, stream: int = 1) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(text.encode()).to_bytes(4, "big") + text.encode()


BEFORE, BETWEEN, AFTER = (
    frame(f"{AT[0]} one\n"),
    frame("Error grabbing logs: rpc error: node n3 is not available\n", stream=3),
    frame(f"{AT[1]} two\n"),
)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 1000])
def test_a_managers_words_are_no_output_wherever_a_piece_ends(size: int) -> None:
    log, stream = TaskLog(""), BEFORE + BETWEEN + AFTER
    said = [line.text for start in range(0, len(stream), size) for line in log.feed(stream[start : start + size])]
    assert said == ["one", "two"]
    assert log.broken


def test_a_stream_that_is_opened_anew_goes_on_after_the_last_line() -> None:
    log = TaskLog("")
    assert [line.text for line in log.feed(BEFORE + AFTER[:12])] == ["one"]
    assert not log.broken
    assert log.reopen().endswith(".000000001")
    assert [line.text for line in log.feed(BEFORE + AFTER)] == ["two"]
    assert log.note("something").cursor == f"{AT[1]}#1"
