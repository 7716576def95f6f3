"""What a process was in the middle of survives its SIGKILL, and is found exactly once."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kit.journal import Journal, remains
from tests.full_disk import full

VICTIM = """
import sys, pathlib
from kit.journal import Journal
journal = Journal(pathlib.Path(sys.argv[1]))
journal.open("a", {"n": 1})
journal.open("b", {"n": 2})
journal.note("b", {"known": True})
journal.open("c", {"n": 3})
journal.close("c")
print(journal.name, flush=True)
sys.stdin.read()
"""


def killed(folder: Path) -> str:
    """Run a process that leaves two things open, kill it, and say what its journal is called."""
    victim = subprocess.Popen(
        [sys.executable, "-c", VICTIM, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with victim:
        assert victim.stdout
        name = victim.stdout.readline().strip()
        with remains(folder) as dead:
            assert dead == []  # it lives: hands off
        os.kill(victim.pid, signal.SIGKILL)
    return name


def test_what_a_killed_process_left_open_is_found(tmp_path: Path) -> None:
    name = killed(tmp_path)
    with remains(tmp_path) as dead:
        assert [one.journal for one in dead] == [name]
        assert [(left.key, left.record, left.note) for left in dead[0].left] == [
            ("a", {"n": 1}, None),
            ("b", {"n": 2}, {"known": True}),
        ]


def test_only_one_finder_gets_it(tmp_path: Path) -> None:
    killed(tmp_path)
    with remains(tmp_path) as first, remains(tmp_path) as second:
        assert (len(first), len(second)) == (1, 0)


def test_what_is_settled_is_not_found_again(tmp_path: Path) -> None:
    killed(tmp_path)
    with remains(tmp_path) as dead:
        dead[0].remove()
    with remains(tmp_path) as dead:
        assert dead == []
    assert list(tmp_path.iterdir()) == []


def test_what_was_not_removed_is_found_again(tmp_path: Path) -> None:
    killed(tmp_path)
    with remains(tmp_path):
        pass
    with remains(tmp_path) as dead:
        assert len(dead[0].left) == 2


def test_a_torn_last_line_costs_that_line_only(tmp_path: Path) -> None:
    killed(tmp_path)
    (path,) = tmp_path.glob("*.journal")
    path.write_bytes(path.read_bytes() + b'{"open":"d","rec')
    with remains(tmp_path) as dead:
        assert [left.key for left in dead[0].left] == ["a", "b"]


def test_a_journal_keeps_its_size_and_what_is_open(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit=2_000)
    journal.open("long", {"n": 0})
    for number in range(500):
        journal.open(f"short-{number}", {"n": number})
        journal.close(f"short-{number}")
    (path,) = tmp_path.glob("*.journal")
    assert path.stat().st_size < 2_200
    assert b'"open":"long"' in path.read_bytes()
    journal.close("long")
    journal.end()


def test_an_end_with_nothing_open_leaves_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.open("a", {})
    journal.close("a")
    journal.end()
    assert list(tmp_path.iterdir()) == []


def test_an_end_with_something_open_leaves_it_to_the_next_start(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.open("a", {"n": 1})
    journal.end()
    with remains(tmp_path) as dead:
        assert [left.key for left in dead[0].left] == ["a"]


@contextmanager
def bounded(path: Path, more: int) -> Iterator[None]:
    """No file of this process gets longer than that one is, and so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_record_that_found_no_room_was_not_opened(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    with full(tmp_path), pytest.raises(OSError, match="No space"):
        journal.open("a", {"n": 1})
    assert not journal.pending
    journal.open("b", {"n": 2})
    journal.end()
    with remains(tmp_path) as dead:
        assert [left.key for left in dead[0].left] == ["b"]


@pytest.mark.parametrize("short", [10, -1])
def test_a_record_that_was_written_in_part_spoils_none_after_it(tmp_path: Path, short: int) -> None:
    journal = Journal(tmp_path)
    journal.open("a", {"n": 1})
    (path,) = tmp_path.glob("*.journal")
    record = b'{"open":"b","record":{"n":2}}\n'
    with bounded(path, short % len(record)), pytest.raises(OSError, match="too large"):
        journal.open("b", {"n": 2})
    journal.note("a", {"known": True})
    journal.end()
    with remains(tmp_path) as dead:
        assert [(left.key, left.note) for left in dead[0].left] == [("a", {"known": True})]


def test_a_journal_that_cannot_be_replaced_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path, limit=50)
    journal.open("long", {"n": 1})
    journal.open("short", {"n": 2})
    (path,) = tmp_path.glob("*.journal")
    with bounded(path, 100):
        with pytest.raises(OSError, match="too large"):
            journal.note("long", {"text": "x" * 1_000})
        with pytest.raises(OSError, match="too large"):
            journal.close("short")
    assert list(tmp_path.iterdir()) == [path]
    journal.note("long", {"known": True})
    journal.end()
    with remains(tmp_path) as dead:
        assert [(left.key, left.note) for left in dead[0].left] == [("long", {"known": True})]
