"""Large content beside the database: named byte strings, written whole or not at all.

They are files of one folder, and with a far store those of some size are there instead: they are written here first,
then sent, so that a store that is down loses nothing. What could not be sent stays here and goes with a later `ship`.
Neighbours: `objects` is a far store; who knows which content is wanted no more is in `control`.
"""

import os
import re
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import anyio.to_thread

from kit.errors import Unavailable
from kit.observe import log

PIECE = 256 << 10
"""Bytes of a file that are read at once."""
REST_S = 30.0
"""After a failure nothing is sent inside of a write for so long: it waits for `ship`."""
DRAFT = ".new"
"""How the names of what is still being written end; such a file never leaves its folder."""
_NAME = re.compile(r"[a-z0-9_]+(/[a-z0-9_.-]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Content:
    """What one name holds: its bytes in all, and then piece by piece, once."""

    size: int
    pieces: AsyncIterator[bytes]


class Store(Protocol):
    """Somewhere else. Each method raises Unavailable when it does not answer, and may run twice."""

    async def take(self, name: str, content: BinaryIO | bytes) -> None:
        """Store all of it, or nothing; replaces what was there. It may close the file."""

    async def open(self, name: str) -> Content | None:
        """None when there is none of that name."""

    async def delete(self, names: Collection[str]) -> None:
        """Forget them; there may be none of a name."""

    def names(self, folder: str) -> AsyncIterator[list[str]]:
        """Some at a time, all that begin with `folder`/."""


class Blobs:
    """A folder of named byte strings, and what of it is in a far store."""

    def __init__(self, root: Path, far: Store | None = None, *, far_from: int = 0) -> None:
        """What has `far_from` bytes or more goes to the far store."""
        self.root = root
        self.far = far
        self._far_from = far_from
        self._rests_until = 0.0

    def path(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or ".." in name:
            raise ValueError(f"not a blob name: {name!r}")
        return self.root / name

    async def put(self, name: str, content: bytes) -> int:
        """Store, replacing what was there; returns the size in bytes."""
        await anyio.to_thread.run_sync(_write, self.path(name), content)
        await self._try_send(name)
        return len(content)

    async def append(self, name: str, content: bytes) -> None:
        """To a draft: its name ends in `DRAFT`."""
        await anyio.to_thread.run_sync(_append, self.path(name), content)

    async def move(self, name: str, to: str) -> None:
        """Make a draft what it is to be, replacing what was there."""
        await anyio.to_thread.run_sync(_move, self.path(name), self.path(to))
        await self._try_send(to)

    async def hand(self, name: str, to: str) -> None:
        """Make a draft what it is to be where everybody finds it who shares the far store, however small it is; or
        Unavailable, and it is nowhere."""
        await anyio.to_thread.run_sync(_move, self.path(name), self.path(to))
        try:
            await self.ship(to)
        except Unavailable:
            await anyio.to_thread.run_sync(lambda: self.path(to).unlink(missing_ok=True))
            raise

    async def clear(self, folder: str) -> None:
        """Forget all that begins with `folder`/; there may be none."""
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(self.path(folder), ignore_errors=True))
        if self.far:
            async for names in self.far.names(folder):
                await self.far.delete(names)

    async def delete(self, name: str) -> None:
        """Forget it; there may be none of that name."""
        await anyio.to_thread.run_sync(lambda: self.path(name).unlink(missing_ok=True))
        if self.far and not name.endswith(DRAFT):
            await self.far.delete([name])

    async def get(self, name: str) -> bytes | None:
        """The content, or None when there is none of that name."""
        found = await self.open(name)
        return b"".join([piece async for piece in found.pieces]) if found else None

    async def open(self, name: str) -> Content | None:
        """The same in pieces. A far store is asked second: what is sent is there before it is gone here."""
        file = await anyio.to_thread.run_sync(_opened, self.path(name))
        if file is not None:
            return Content(os.fstat(file.fileno()).st_size, _pieces(file))
        return await self.far.open(name) if self.far else None

    async def here(self, folder: str) -> list[str]:
        """Names of whole files below a folder that are in this one."""
        return await anyio.to_thread.run_sync(_names, self.root, self.path(folder))

    async def drop_drafts(self, folder: str, older_s: float) -> None:
        """Those below a folder that nobody writes any more."""
        await anyio.to_thread.run_sync(_drop_drafts, self.path(folder), time.time() - older_s)

    def goes(self, name: str) -> bool:
        """Is a file of this folder one for the far store?"""
        try:
            return self.far is not None and self.path(name).stat().st_size >= self._far_from
        except FileNotFoundError:
            return False

    async def ship(self, name: str) -> None:
        """Send a file of this folder; Unavailable when the store does not answer, and the file stays."""
        path = self.path(name)
        file = await anyio.to_thread.run_sync(_opened, path) if self.far else None
        if self.far and file:
            with file:
                sent = os.fstat(file.fileno())
                await self.far.take(name, file)
            await anyio.to_thread.run_sync(_unlink, path, sent)

    async def _try_send(self, name: str) -> None:
        if not self.goes(name) or anyio.current_time() < self._rests_until:
            return
        try:
            await self.ship(name)
        except Unavailable as fault:
            self._rests_until = anyio.current_time() + REST_S
            log.warning("a file stays in the data folder until the object store answers", why=fault.message)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}{DRAFT}")  # two may write it at once: one of them wins
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def _append(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(content)


def _move(path: Path, to: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    path.replace(to)


def _unlink(path: Path, sent: os.stat_result) -> None:
    """Only what was sent: somebody may have put another file in its place."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return
    if (now.st_dev, now.st_ino) == (sent.st_dev, sent.st_ino):
        path.unlink(missing_ok=True)


def _opened(path: Path) -> BinaryIO | None:
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


async def _pieces(file: BinaryIO) -> AsyncIterator[bytes]:
    with file:
        while piece := await anyio.to_thread.run_sync(file.read, PIECE):
            yield piece


def _drop_drafts(folder: Path, before: float) -> None:
    for path in folder.rglob(f"*{DRAFT}"):
        with suppress(FileNotFoundError):  # finished meanwhile
            if path.stat().st_mtime < before:
                path.unlink()


def _names(root: Path, folder: Path) -> list[str]:
    return [
        str(path.relative_to(root))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(DRAFT)
    ]
