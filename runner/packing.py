"""A path of a folder that an agent wrote into, as a tar, for engines whose jobs have folders of this machine.

The agent may still run: no link is followed, no pipe is opened, and a file that changes its length meanwhile is told
with the one it had. Neighbour: `tar`, which reads what comes of it.
"""

import os
import stat
import tarfile
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import anyio.to_thread

DEEPEST = 64
"""Folders below each other; what is deeper is not told."""
_PIECE = 1 << 18
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS = {stat.S_IFLNK: tarfile.SYMTYPE, stat.S_IFIFO: tarfile.FIFOTYPE, stat.S_IFCHR: tarfile.CHRTYPE}


async def packed(root: Path, path: str) -> AsyncGenerator[bytes]:
    """The tar of `path` below `root`, its names beginning with the last part of it; nothing where there is none."""
    pieces = _pieces(root, PurePosixPath(path))
    try:
        while piece := await anyio.to_thread.run_sync(next, pieces, b""):
            yield piece
    finally:
        pieces.close()


def _pieces(root: Path, path: PurePosixPath) -> Generator[bytes]:
    with suppress(OSError), _opened(root, None, _FOLDER) as at:  # gone, never there, or a link stands in its place
        yield from _below(at, path.parts)
    yield tarfile.NUL * 2 * tarfile.BLOCKSIZE


def _below(at: int, parts: tuple[str, ...]) -> Iterator[bytes]:
    if len(parts) == 1:
        yield from _entry(at, parts[0], parts[0], 0)
        return
    with _opened(parts[0], at, _FOLDER) as inner:
        yield from _below(inner, parts[1:])


def _entry(at: int, name: str, told: str, depth: int) -> Iterator[bytes]:
    found = os.stat(name, dir_fd=at, follow_symlinks=False)
    if stat.S_ISREG(found.st_mode):
        with _opened(name, at, _FILE) as file:
            yield from _content(file, told)
    elif stat.S_ISDIR(found.st_mode):
        yield _header(told, tarfile.DIRTYPE)
        if depth < DEEPEST:
            with _opened(name, at, _FOLDER) as inner, os.scandir(inner) as entries:
                for each in entries:
                    with suppress(OSError):  # it is gone, or not to be read; nothing of it was told yet
                        yield from _entry(inner, each.name, f"{told}/{each.name}", depth + 1)
    else:
        yield _header(told, _OTHERS.get(stat.S_IFMT(found.st_mode), tarfile.FIFOTYPE))


def _content(file: int, told: str) -> Iterator[bytes]:
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):  # it was another a moment ago
        return
    yield _header(told, tarfile.REGTYPE, found.st_size)
    left = found.st_size
    while left:
        piece = _read(file, min(left, _PIECE))
        left -= len(piece)
        yield piece
    yield bytes(-found.st_size % tarfile.BLOCKSIZE)


def _read(file: int, most: int) -> bytes:
    """Zeros where there is nothing any more: the length was told."""
    try:
        return os.read(file, most) or bytes(most)
    except OSError:
        return bytes(most)


def _header(told: str, kind: bytes, size: int = 0) -> bytes:
    info = tarfile.TarInfo(told)
    info.type, info.size = kind, size
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


@contextmanager
def _opened(name: str | Path, at: int | None, how: int) -> Iterator[int]:
    opened = os.open(name, how, dir_fd=at)
    try:
        yield opened
    finally:
        os.close(opened)
