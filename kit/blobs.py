"""Large content beside the database: files under one folder, named by the caller, written whole or not at all."""

import os
import re
import secrets
import shutil
from pathlib import Path

import anyio.to_thread

_NAME = re.compile(r"[a-z0-9_]+(/[a-z0-9_.]+)*", re.ASCII)


class Blobs:
    """A folder of named byte strings."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or ".." in name:
            raise ValueError(f"not a blob name: {name!r}")
        return self.root / name

    async def put(self, name: str, content: bytes) -> int:
        """Store, replacing what was there; returns the size in bytes."""
        await anyio.to_thread.run_sync(_write, self.path(name), content)
        return len(content)

    async def append(self, name: str, content: bytes) -> None:
        await anyio.to_thread.run_sync(_append, self.path(name), content)

    async def move(self, name: str, to: str) -> None:
        """Give it another name, replacing what was there; what was appended to it is on the disk then."""
        await anyio.to_thread.run_sync(_move, self.path(name), self.path(to))

    async def clear(self, folder: str) -> None:
        """Forget all that begins with `folder`/; there may be none."""
        await anyio.to_thread.run_sync(lambda: shutil.rmtree(self.path(folder), ignore_errors=True))

    async def delete(self, name: str) -> None:
        """Forget it; there may be none of that name."""
        await anyio.to_thread.run_sync(lambda: self.path(name).unlink(missing_ok=True))

    async def get(self, name: str) -> bytes | None:
        """The content, or None when there is none of that name."""
        path = self.path(name)
        return await anyio.to_thread.run_sync(lambda: path.read_bytes() if path.exists() else None)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")  # two may write it at once: one of them wins
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
