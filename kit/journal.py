"""What a process is in the middle of, in a file that survives its SIGKILL.

One append-only file per process, locked while the process lives; each record is one `write`. A key is opened, may be
noted about, and is closed; what a dead process left open is found by whoever can take its lock. Nothing here is synced
to the disk: a power cut may lose the last records, a killed process may not.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kit.ids import new_id

LIMIT = 8 * 1024 * 1024
"""Bytes after which a file is replaced by one that holds only what is still open."""
SUFFIX = ".journal"
KEPT = ".unsettled"


class Journal:
    """The file of this process."""

    def __init__(self, folder: Path, *, limit: int = LIMIT) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.name = new_id("jnl")
        self._folder = folder
        self._limit = limit
        self._part = 0
        self._open: dict[str, list[bytes]] = {}
        self._file, self._path, self._size = self._fresh()

    def open(self, key: str, record: object) -> None:
        """Write down that something begins, before it does. A record is a mapping or a dataclass. OSError: it is not
        written, and not open."""
        line = _line({"open": key, "record": record})
        self._append(line)
        self._open[key] = [line]

    def note(self, key: str, record: object) -> None:
        """Write down what is now known about it; the last note wins. OSError: it is not written yet."""
        line = _line({"note": key, "record": record})
        self._open.setdefault(key, []).append(line)
        self._append(line)

    def close(self, *keys: str) -> None:
        """These are settled elsewhere, durably. OSError: the file says otherwise, whoever reads it finds them there."""
        known = [key for key in keys if self._open.pop(key, None)]
        if known:
            self._append(_line({"close": known}))
            if self._size > self._limit:
                self._rotate()

    @property
    def pending(self) -> bool:
        """Something is still open."""
        return bool(self._open)

    def end(self, *, keep: bool = False) -> None:
        """Let go of the file. It is removed unless something is still open, or is held by its name elsewhere."""
        if not self._open and not keep:
            self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _append(self, line: bytes) -> None:
        """All of a line or nothing of it."""
        left = memoryview(line)
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(line)

    def _rotate(self) -> None:
        """A new file with what is open, then the old one goes. Killed in between, both say the same."""
        old = (self._file, self._path, self._size)
        self._file, self._path, self._size = self._fresh()
        try:
            for lines in self._open.values():
                self._append(b"".join(lines))
        except OSError:
            old, (self._file, self._path, self._size) = (self._file, self._path, self._size), old
            raise
        finally:
            file, path, _ = old
            path.unlink(missing_ok=True)
            os.close(file)

    def _fresh(self) -> tuple[int, Path, int]:
        self._part += 1
        path = self._folder / f"{self.name}.{self._part}{SUFFIX}"
        draft = path.with_suffix(".new")  # not a journal before it is locked: nobody may take it for a dead one
        file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        draft.rename(path)
        return file, path, 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One thing a dead process did not finish: what it opened with, and its last note."""

    key: str
    record: dict[str, Any]
    note: dict[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remains:
    """The file of a dead process, ours until we remove it. `journal` is the `name` its process knew it by."""

    journal: str
    left: tuple[Left, ...]
    path: Path

    def remove(self) -> None:
        """All that was left is settled."""
        self.path.unlink(missing_ok=True)

    def set_aside(self) -> Path:
        """Not all of it could be settled: nobody takes it up again, a person may read it where it is now."""
        return self.path.rename(self.path.with_suffix(KEPT))


@contextlib.contextmanager
def remains(folder: Path) -> Iterator[list[Remains]]:
    """What dead processes left in a folder. Their files stay locked in here, so that nobody else takes them up too."""
    with contextlib.ExitStack() as stack:
        found = []
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if (file := _take(path)) is not None:
                stack.callback(os.close, file)
                found.append(Remains(journal=path.name.split(".")[0], left=tuple(_left(path)), path=path))
        yield found


def _take(path: Path) -> int | None:
    """The file's descriptor if its process is dead, else None."""
    try:
        file = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    if os.fstat(file).st_nlink == 0:  # somebody settled and removed it while we opened it
        os.close(file)
        return None
    return file


def _left(path: Path) -> list[Left]:
    left: dict[str, Left] = {}
    for line in path.read_bytes().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # the last line of a power cut
            continue
        if not isinstance(entry, dict):
            continue
        for closed in entry.get("close", ()):
            left.pop(closed, None)
        if key := entry.get("open"):
            left[key] = Left(key=key, record=entry.get("record", {}), note=None)
        elif (key := entry.get("note")) in left:
            left[key] = Left(key=key, record=left[key].record, note=entry.get("record"))
    return list(left.values())


def _line(entry: object) -> bytes:
    return msgspec.json.encode(entry) + b"\n"
