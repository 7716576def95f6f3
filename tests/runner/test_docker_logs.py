"""The frames of an engine's log into lines and cursors."""

from collections.abc import Iterable

import pytest

from kit.errors import Fault
from runner import docker_box
from runner.docker_logs import Cursor, LogReader
from runner.engine import Job
from runner.lines import CONTINUED, LIMIT

T1, T2 = "2026-11-22T09:30:36.000000001Z", "2026-11-22T09:30:36.000000002Z"


def frame(stamp: str, text: bytes, stream: int = 1) -> bytes:
    entry = stamp.encode() + b" " + text
    return bytes([stream, 0, 0, 0]) + len(entry).to_bytes(4, "big") + entry


def texts(reader: LogReader, stream: bytes, size: int = 1 << 16) -> list[str]:
    chunks: Iterable[bytes] = (stream[at : at + size] for at in range(0, len(stream), size))
    return [line.text for chunk in chunks for line in reader.feed(chunk)] + [line.text for line in reader.rest()]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_frames_are_found_however_the_bytes_are_cut(size: int) -> None:
    stream = frame(T1, b"one\n") + frame(T1, b"two \xff\0\n", stream=2) + frame(T2, b"three")
    assert texts(LogReader(""), stream, size) == ["one", "two ��", "three"]


def test_lines_of_one_nanosecond_are_told_apart_by_their_number() -> None:
    stream = frame(T1, b"a\n") + frame(T1, b"b\n") + frame(T1, b"c\n") + frame(T2, b"d\n")
    lines = list(LogReader("").feed(stream))
    assert [line.cursor for line in lines] == [f"{T1}#1", f"{T1}#2", f"{T1}#3", f"{T2}#1"]
    for number, line in enumerate(lines, start=1):
        assert texts(LogReader(line.cursor), stream) == ["a", "b", "c", "d"][number:]


def test_a_reader_goes_on_over_a_stream_opened_again() -> None:
    stream = frame(T1, b"a\n") + frame(T1, b"half") + frame(T2, b" b\n")
    reader = LogReader("")
    cut = len(frame(T1, b"a\n") + frame(T1, b"half"))
    assert [line.text for line in reader.feed(stream[:cut])] == ["a"]
    assert reader.reopen().at == T1
    assert texts(reader, stream) == ["half b"]


def test_entries_of_a_cut_line_become_one_again_up_to_the_limit() -> None:
    part = b"x" * (16 * 1024)
    stream = b"".join(frame(T1, part) for _ in range(6)) + frame(T1, b"PRELOOP_AGENT_EXEC_END 0\n") + frame(T2, b"z\n")
    lines = list(LogReader("").feed(stream))
    assert all(len(line.text) <= LIMIT + len(CONTINUED) for line in lines)
    assert "".join(line.text.removeprefix(CONTINUED) for line in lines[:-1]) == "x" * len(part) * 6 + (
        "PRELOOP_AGENT_EXEC_END 0"
    )
    assert [line.text.startswith(CONTINUED) for line in lines] == [False, True, False]
    assert texts(LogReader(lines[0].cursor), stream)[0].startswith(CONTINUED)


def test_since_is_what_the_engine_reads() -> None:
    assert Cursor.parse(f"{T1}#3").since == "1795339836.000000001"
    assert Cursor.parse("").since == "0"
    assert str(Cursor.parse(f"{T1}#3+")) == f"{T1}#3+"


ENGINES = [  # one moment after another, as an engine at UTC, one in India that trims zeros, and one west of Greenwich
    ("2026-11-22T23:59:59.999999999Z", "2026-11-23T00:00:00.000000000Z", "2026-11-23T00:00:00.500000000Z"),
    ("2026-11-23T05:29:59.999999999+05:30", "2026-11-23T05:30:00+05:30", "2026-11-23T05:30:00.5+05:30"),
    ("2026-11-22T15:59:59.999999999-08:00", "2026-11-22T16:00:00-08:00", "2026-11-22T16:00:00.50-08:00"),
    ("2026-11-23T01:59:59.999999999+02:00", "2026-11-23T00:00:00Z", "2026-11-22T23:00:00.5-01:00"),
]


@pytest.mark.parametrize("stamps", ENGINES)
def test_times_are_the_same_whatever_offset_and_precision_an_engine_writes(stamps: tuple[str, ...]) -> None:
    lines = list(LogReader("").feed(b"".join(frame(stamp, b"x\n") for stamp in stamps)))
    assert [line.at for line in lines] == list(ENGINES[0])
    assert [line.cursor for line in lines] == [f"{stamp}#1" for stamp in ENGINES[0]]
    assert Cursor.parse(lines[2].cursor).since == "1795392000.500000000"


@pytest.mark.parametrize("before", ENGINES)
@pytest.mark.parametrize("stamps", ENGINES)
def test_reading_goes_on_without_gap_or_double_in_any_form(before: tuple[str, ...], stamps: tuple[str, ...]) -> None:
    """Also after a cursor that was kept in the engine's own form."""
    entries = [(0, b"a\n"), (1, b"b\n"), (1, b"c\n"), (2, b"d\n")]
    stream = b"".join(frame(stamps[at], text) for at, text in entries)
    for cursor, rest in ((f"{before[0]}#1", "bcd"), (f"{before[1]}#1", "cd"), (f"{before[1]}#2", "d")):
        assert texts(LogReader(cursor), stream) == list(rest)


def test_what_is_no_time_is_one_clear_error() -> None:
    with pytest.raises(Fault, match="'yesterday' where a time should be"):
        list(LogReader("").feed(frame("yesterday", b"x\n")))


def test_what_was_rotated_away_before_it_was_read_is_told_once() -> None:
    reader = LogReader("")
    assert [line.text for line in reader.feed(frame(T1, b"a\n"))] == ["a"]
    reader.reopen()
    lines = list(reader.feed(frame(T2, b"z\n") + frame(T2, b"end\n")))
    told = f"Output between {T1} and {T2} may be lost: the engine had rotated its log before it was read."
    assert [(line.text, line.ours) for line in lines] == [(told, True), ("z", False), ("end", False)]
    reader.reopen()
    again = frame(T2, b"z\n") + frame(T2, b"end\n") + frame("2026-11-22T09:30:37Z", b"more\n")
    assert texts(reader, again) == ["more"]


@pytest.mark.parametrize(("kept", "file"), [(1 << 20, 32 << 20), (500 << 20, 750 << 20), (100_000 << 20, 2 << 30)])
def test_an_engine_keeps_in_one_file_what_is_kept_of_a_log(kept: int, file: int) -> None:
    job = Job(name="j", image="i", argv=("true",), env={}, files={}, log_bytes=kept)
    body = docker_box.container(job, {}, cpus=1, log_max_bytes=None, runtime=None)
    assert body["HostConfig"]["LogConfig"]["Config"] == {"max-size": str(file), "max-file": "2"}
